"""Grade a class with `colorlib grade`, and some of the same notebooks with `otter run`, in one run.

``python -m benchmarks.grading``: 200 solutions of the assignment on color spaces with two workers, against
Otter one after the other, whose time for the class is that of a few notebooks times their number. It needs
the command `otter` (`pip install "colorlib[otter]"`), and prints its results. CPU seconds hold for a busy
machine too.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from colorlib.grading import source

NAME = "spaces"


def timed(command, folder):
    """Wall and CPU seconds of a command and all that it starts."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([str(part) for part in command], cwd=folder, check=True, capture_output=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    """Measure both, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notebooks", type=int, default=200, help="in the class [200]")
    parser.add_argument("--otter", type=int, default=5, help="of them graded by Otter [5]")
    asked = parser.parse_args()
    if shutil.which("otter") is None:
        sys.exit('the command otter is needed: pip install "colorlib[otter]"')
    path = (source.SOURCES / f"{NAME}.ipynb").resolve()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        (home / "class").mkdir()
        notebook = json.dumps(source.solution(source.read_notebook(path)))
        for number in range(asked.notebooks):
            (home / "class" / f"{number:03d}.ipynb").write_text(notebook, encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "colorlib",
            "grade",
            "class",
            "--assignment",
            path,
            "--out",
            "grades",
        ]
        wall, cpu = timed([*command, "--workers", "2"], home)
        print(f"colorlib grade, {asked.notebooks} notebooks: {wall:.1f} s, {cpu:.1f} CPU seconds")
        timed(["otter", "assign", "--no-run-tests", path, home / "made"], home)
        (zipped,) = (home / "made" / "autograder").glob("*.zip")
        runs = []
        for number in range(asked.otter):
            runs.append(timed(["otter", "run", "-a", zipped, home / "class" / f"{number:03d}.ipynb"], home))
        other_wall, other_cpu = (sum(run[k] for run in runs) / len(runs) * asked.notebooks for k in (0, 1))
        print(f"otter run, {asked.otter} of them, for all: {other_wall:.0f} s, {other_cpu:.0f} CPU seconds")
        print(f"colorlib takes {wall / other_wall:.1%} of the time, {cpu / other_cpu:.1%} of the CPU seconds")


if __name__ == "__main__":
    main()
