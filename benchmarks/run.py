"""Run the benchmarks: ``python -m benchmarks.run [NAME ...]``.

Without a name all of them run, and the results are written to ``benchmarks/results.md``. With names, only the
files ``bench_NAME.py`` run, and the results are only printed.
"""

import argparse
import datetime
import importlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.harness import measure

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"


def names():
    """The benchmarks there are: the NAME of every ``bench_NAME.py``."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def machine(packages):
    """The machine and the versions, as lines of Markdown: the models, never a name of a host or a path."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{package} {version(package)}" for package in sorted({"torch", "numpy", *packages})]
    return [
        f"- Date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
        f"- Machine: {cpu_model()}, {cores} cores, {torch.get_num_threads()} threads for torch;"
        f" {platform.system()} on {platform.machine()}"
        + (f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        f"- Versions: {', '.join(versions)}",
    ]


def cpu_model():
    """The processor's model as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def show_time(seconds):
    """A time in three digits, with the unit that suits it."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1000 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} us"


def table(comparison, rows, remark):
    """The results of one comparison, as lines of Markdown."""
    lines = [f"## {comparison.name}", ""]
    lines += [
        "| | median | from | to | their time / ours | from | to | aim |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells = [row.contestant, *map(show_time, row.seconds)]
        cells += ["", "", ""] if row.ratio is None else [f"{x:.3g}" for x in row.ratio]
        cells.append("" if row.aim is None else f"{row.aim:g}: {'met' if row.met else '**not met**'}")
        lines.append("| " + " | ".join(cells) + " |")
    speed = ""
    if comparison.items is not None:
        count, things = comparison.items
        speed = f"{count / rows[0].seconds[0]:.3g} {things} a second."
    for text in filter(None, (speed, comparison.note, remark)):
        lines += ["", text]
    return [*lines, ""]


def main(arguments=None):
    """Run, print, and write the results where all benchmarks ran."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Run the benchmarks.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(names())}; default all"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="time for a comparison; default 20")
    parser.add_argument("--only", default="", metavar="TEXT", help="only those with this in their name")
    options = parser.parse_args(arguments)
    chosen = options.names
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names())}")

    if options.seconds <= 0:
        parser.error(f"--seconds must be above 0, got {options.seconds:g}")
    try:
        modules = [importlib.import_module(f"benchmarks.bench_{name}") for name in chosen or names()]
    except ModuleNotFoundError as error:
        parser.error(f'{error}; install what is compared with: pip install -e ".[bench]", or use make bench')
    packages = {package for module in modules for package in module.PACKAGES}
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks.run`. All contestants of a table ran in turn, in one process, after"
        " their results were compared. A ratio above 1 means that colorlib is faster.",
        "",
        *machine(packages),
        "",
    ]
    print("\n".join(lines), flush=True)
    ran = 0
    for module in modules:
        for comparison in module.comparisons():
            if options.only not in comparison.name:
                continue
            ran += 1
            part = table(comparison, *measure(comparison, options.seconds))
            print("\n".join(part), flush=True)
            lines += part
    if not ran:
        parser.error(f"no comparison here has {options.only!r} in its name")
    if not chosen and not options.only:
        RESULTS.write_text("\n".join(lines), encoding="utf-8")
        print("Written to benchmarks/results.md")


if __name__ == "__main__":
    main()
