"""The command `colorlib grade`: a folder of submissions to a table, a page for each, and a summary."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from colorlib._files import write_whole

KEPT = "grading.json"  # marks a folder of grades as one, and keeps the class's seed
FILES = ".ipynb"


def grade(
    submissions: Annotated[
        str, typer.Argument(help="A folder with .ipynb files, in folders of its own or not.")
    ],
    assignment: Annotated[
        str, typer.Option(help="Its name, such as sampler, or the path of its notebook for grading.")
    ],
    out: Annotated[
        str, typer.Option(metavar="PATH", help="Folder for the grades. The same command goes on there.")
    ],
    seed: Annotated[
        str | None,
        typer.Option(
            help="Draws the hidden cases. [default: a new one for each folder of grades, kept there]"
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds of one core that a submission may take. [default: as the assignment says]"
        ),
    ] = None,
    memory: Annotated[int, typer.Option(help="Megabytes of memory that a submission may use.")] = 2048,
    workers: Annotated[int | None, typer.Option(help="Submissions at a time. [default: one a core]")] = None,
) -> None:
    """Grade the notebooks of a class, each in a process of its own that can hurt nothing.

    It writes grades.csv for a learning platform, summary.md for you, and feedback/ with a page for each
    student. Stop it any time: the same command goes on. Grades of files that did not change are kept.
    """
    try:
        run(Path(submissions), assignment, Path(out), seed, seconds, memory, workers)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"colorlib: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def run(
    submissions: Path,
    assignment: str | Path,
    out: Path,
    seed: str | None = None,
    seconds: float | None = None,
    memory: int = 2048,
    workers: int | None = None,
    server=None,
    progress: bool = True,
) -> list:
    """Do what `colorlib grade` does; the results in the order of the table."""
    if not hasattr(os, "fork"):
        raise RuntimeError("grading needs Linux or macOS; on Windows, run it in WSL")
    files = _files(submissions, out)
    from colorlib.grading import source  # what follows imports torch, for which a mistyped path need not wait

    path = source.find(assignment)
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from tqdm import tqdm

    from colorlib.check.values import SEED
    from colorlib.grading import report
    from colorlib.grading.submission import Limits, Result, Server, fingerprint, grade_one

    wanted = source.load(path)
    if seconds is not None and not 0 < seconds <= 86_400:
        raise ValueError(f"--seconds must be above 0 and at most 86,400; got {seconds}")
    if not 64 <= memory <= 2**20:
        raise ValueError(f"--memory must be from 64 to {2**20} megabytes; got {memory}")
    if workers is not None and not 1 <= workers <= 1024:
        raise ValueError(f"--workers must be from 1 to 1024; got {workers}")
    seed = _seed(out, wanted.name, seed)
    limits = Limits(seconds or wanted.seconds, memory * 2**20)
    tests = path.read_bytes()
    cache = out / "results"
    cache.mkdir(exist_ok=True)
    before, threads = os.environ.get(SEED), torch.get_num_threads()
    os.environ[SEED] = seed
    torch.set_num_threads(1)
    own = server is None
    server = server or Server()
    try:

        def one(item) -> Result:
            name, file = item
            kept, key = cache / f"{report.file_name(name)}.json", fingerprint(file, tests, seed, limits)
            try:
                saved = json.loads(kept.read_text(encoding="utf-8"))
                if saved.pop("key") == key:
                    return Result(**saved)
            except (OSError, ValueError, TypeError, KeyError):
                pass
            result = grade_one(server, wanted, limits, name, file)
            write_whole(kept, json.dumps({"key": key, **json.loads(result.text())}, indent=1).encode())
            return result

        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            bar = tqdm(total=len(files), desc=wanted.name, unit="notebook", disable=not progress)
            jobs = [pool.submit(one, item) for item in files.items()]
            try:
                for job in jobs:
                    job.result()
                    bar.update()
            except BaseException:  # Ctrl-C too: those that run are finished, and all that is graded is kept
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                bar.close()
    finally:
        torch.set_num_threads(threads)
        os.environ.pop(SEED) if before is None else os.environ.update({SEED: before})
        if own:
            server.close()
    results = [job.result() for job in jobs]
    written = report.write(out, wanted, results, seed)
    if progress:
        failed = sum(bool(result.problem) for result in results)
        print(
            f"{len(results)} submissions, {failed} of them could not be graded. {written[0]} has the grades,"
        )
        print(f"{written[1]} what the class found hard, {out / 'feedback'} a page for each student.")
    return results


def _files(submissions: Path, out: Path) -> dict[str, Path]:
    """The notebooks of a folder by their names, in their order; copies that editors keep are left out."""
    if not submissions.is_dir():
        raise FileNotFoundError(f"there is no folder {submissions}")
    found = {}
    for path in sorted(submissions.rglob("*")):
        inside = path.relative_to(submissions)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in inside.parts)
        if (
            path.suffix.lower() == FILES
            and path.is_file()
            and not hidden
            and not (out != submissions and out in path.parents)
        ):
            name = inside.with_suffix("").as_posix()
            found[inside.as_posix() if name in found else name] = path
    if not found:
        raise FileNotFoundError(f"there is no .ipynb file in {submissions}")
    return found


def _seed(out: Path, name: str, seed: str | None) -> str:
    """The class's seed: the one given, the one kept, or a new one; a folder of other things is refused."""
    kept = out / KEPT
    if kept.is_file():
        try:
            saved = json.loads(kept.read_text(encoding="utf-8"))
            before, kept_seed = saved["assignment"], str(saved["seed"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{kept} can't be read; give another --out, or remove it") from None
        if before != name:
            raise ValueError(f"{out} holds the grades of {before}; give another --out for {name}")
        if seed not in (None, kept_seed):
            raise ValueError(f"{out} holds grades for the seed {kept_seed}; give another --out for {seed}")
        return kept_seed
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not empty and holds no grades; give another --out")
    seed = seed or secrets.token_hex(8)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(kept, json.dumps({"assignment": name, "seed": seed}).encode())
    return seed
