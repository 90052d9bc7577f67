"""Assignments in Otter's source format: one notebook, from which the three versions are made.

The format is that of `otter assign` with ``tests: ok_format: false``: raw cells open and close a question,
its solution and its tests; comments in a code cell say what only one of the versions has. What is understood
here is the part of it that the course's assignments use.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from colorlib._files import write_whole

SOURCES = Path("chapters", "assignments")
BUILT = Path("_build", "assignments")
SET_UP = "# Set-up"
MARKER = re.compile(r"#\s*Answer:\s*(\w+)", re.IGNORECASE)


class SourceError(ValueError):
    """A notebook that is no assignment, or whose cells don't fit together."""


@dataclass(frozen=True)
class Test:
    """A test of a question: Python code with one function, that takes what it tests by name."""

    name: str
    points: float
    code: str


@dataclass
class Question:
    """A question and its tests; `points` is the sum of theirs."""

    name: str
    tests: list[Test] = field(default_factory=list)

    @property
    def points(self) -> float:
        """The most that can be had."""
        return sum(test.points for test in self.tests)


@dataclass
class Assignment:
    """What grading needs of an assignment: its set-up cells, its questions, how long a submission may take.

    With `run_all`, all of a submission's cells run, as for one that trains something; without, only what the
    answers need.
    """

    name: str
    set_up: list[str]
    questions: list[Question]
    seconds: float = 20.0
    run_all: bool = False

    @property
    def points(self) -> float:
        """The most that can be had."""
        return sum(question.points for question in self.questions)


def read_notebook(path: Path) -> dict:
    """The JSON of a notebook of our own."""
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            text(cell)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{path} is not a notebook: {error}") from None
    return notebook


def text(cell: dict) -> str:
    """The source of a cell, which a notebook keeps as one text or as lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def find(name_or_path: str | Path) -> Path:
    """The assignment's notebook: a path, or a name for what `make assignments` made, or for its source."""
    given = Path(name_or_path)
    places = [BUILT / "grading" / f"{given}.ipynb", SOURCES / f"{given}.ipynb"]
    for place in [given, *places]:
        if place.is_file():
            return place
    known = sorted({path.stem for place in places for path in place.parent.glob("*.ipynb")})
    listed = f"known here: {', '.join(known)}" if known else "run this where the course lies, or give a path"
    raise FileNotFoundError(f"there is no assignment {name_or_path}; {listed}")


def load(path: Path) -> Assignment:
    """Read an assignment from its source, or from its version for grading."""
    cells, made = read_notebook(path)["cells"], Assignment(Path(path).stem, [], [])
    where, question = None, None
    for cell in cells:
        source = text(cell)
        if cell["cell_type"] == "raw":
            head = source.strip().split("\n")[0].upper()
            if head == "# ASSIGNMENT CONFIG":
                settings = _settings(source)
                made.name = settings.get("name", made.name)
                made.seconds = float(settings.get("colorlib seconds", made.seconds))
                made.run_all = settings.get("colorlib run") == "all"
            elif head == "# BEGIN QUESTION":
                question = Question(_settings(source)["name"])
                made.questions.append(question)
            elif head == "# END QUESTION":
                question = None
            elif head in ("# BEGIN TESTS", "# BEGIN SOLUTION"):
                where = head
            elif head in ("# END TESTS", "# END SOLUTION"):
                where = None
        elif cell["cell_type"] == "code":
            if where == "# BEGIN TESTS" and question is not None:
                question.tests.append(_test(source, path))
            elif question is None and source.startswith(SET_UP):
                made.set_up.append(source)
    if not made.questions or not all(question.tests for question in made.questions):
        raise SourceError(f"{path} is no assignment: it must have questions, each with tests")
    return made


def _settings(source: str) -> dict[str, str]:
    """The lines of a configuration, `name: value`, and those in a comment too, `# name: value`."""
    found = re.findall(r"(?m)^\s*#?\s*([\w ]+?)\s*:[ \t]*(\S.*?)\s*$", source)
    return {name: value.strip("'\"") for name, value in found}


_CONFIG = re.compile(r'(?s)^\s*"""\s*# BEGIN TEST CONFIG\n(.*?)"""\s*# END TEST CONFIG\n')


def _test(source: str, path: Path) -> Test:
    config = _CONFIG.match(source)
    settings = _settings(config[1]) if config else {}
    try:
        points = float(settings["points"])
        if not 0 <= points < 1e6:
            raise ValueError
    except (KeyError, ValueError):
        raise SourceError(f"{path}: a test needs its points, a number from 0: {source[:60]!r}") from None
    code = "\n".join(line for line in source[config.end() :].split("\n") if "# IGNORE" not in line)
    functions = re.findall(r"(?m)^def (\w+)\(", code)
    if len(functions) != 1:
        raise SourceError(f"{path}: a test must be one function; got {len(functions)} in {source[:60]!r}")
    return Test(settings.get("name", functions[0]), points, code)


# The three versions.


def student(notebook: dict) -> dict:
    """The version that is handed out: without solutions, tests and configuration."""
    return _version(notebook, solutions=False)


def solution(notebook: dict) -> dict:
    """The version with the solutions: without tests, prompts and configuration."""
    return _version(notebook, solutions=True)


def _version(notebook: dict, solutions: bool) -> dict:
    made, where = _copy(notebook), None
    for cell in notebook["cells"]:
        source = text(cell)
        if cell["cell_type"] == "raw":
            head = source.strip().split("\n")[0].upper()
            if head == "# ASSIGNMENT CONFIG" and "name" in _settings(source):
                # What Otter on Gradescope asks of a notebook, and nothing else does.
                otter = {"OK_FORMAT": False, "assignment_name": _settings(source)["name"], "tests": {}}
                made["metadata"]["otter"] = otter
            where = head if head.startswith("# BEGIN TESTS") else None if head == "# END TESTS" else where
            continue
        if where == "# BEGIN TESTS":
            continue
        if cell["cell_type"] == "code":
            source = _with_solutions(source) if solutions else _without_solutions(source)
        made["cells"].append(_cell(cell, source, len(made["cells"])))
    return made


def grading(notebook: dict) -> dict:
    """The version that a class is graded by: configuration, set-up and tests, without text and solutions."""
    made, where, inside = _copy(notebook), None, False
    for cell in notebook["cells"]:
        source = text(cell)
        if cell["cell_type"] == "raw":
            head = source.strip().split("\n")[0].upper()
            inside = head != "# END QUESTION" and (inside or head == "# BEGIN QUESTION")
            where = head if head.startswith("# BEGIN") else None if head.startswith("# END") else where
            keep = "SOLUTION" not in head
        else:
            keep = where == "# BEGIN TESTS" or (not inside and source.startswith(SET_UP))
        if keep:
            made["cells"].append(_cell(cell, source, len(made["cells"])))
    return made


def _copy(notebook: dict) -> dict:
    return {**copy.deepcopy({k: v for k, v in notebook.items() if k != "cells"}), "cells": []}


def _cell(cell: dict, source: str, number: int) -> dict:
    made = {"cell_type": cell["cell_type"], "id": f"cell-{number:02d}", "metadata": {}}
    if cell["cell_type"] == "code":
        made |= {"execution_count": None, "outputs": []}
    return made | {"source": source.splitlines(keepends=True)}


_SOLUTION = re.compile(r"(?ms)^[ \t]*# BEGIN SOLUTION[^\n]*\n(.*?)^[ \t]*# END SOLUTION[^\n]*(?:\n|\Z)")
_PROMPT = re.compile(
    r'(?ms)^[ \t]*"""\s*# BEGIN PROMPT[^\n]*\n(.*?)^[ \t]*"""\s*;?\s*# END PROMPT[^\n]*(?:\n|\Z)'
)
_LEFT = re.compile(r"# (BEGIN|END) (SOLUTION|PROMPT)|# SOLUTION\b")


def _without_solutions(source: str) -> str:
    source = re.sub(r"\n{3,}(?=def )", "\n\n\n", _PROMPT.sub(r"\1", _SOLUTION.sub("", source)))
    return _whole(re.sub(r"(?m)^(\s*[\w, ]+=).*# SOLUTION[ \t]*$", r"\1 ...", source))


def _with_solutions(source: str) -> str:
    source = _PROMPT.sub("", _SOLUTION.sub(r"\1", source))
    return _whole(re.sub(r"(?m)[ \t]*# SOLUTION[ \t]*$", "", source))


def _whole(source: str) -> str:
    if _LEFT.search(source):
        raise SourceError(f"a solution or prompt is not closed, or closed twice: {source[:80]!r}")
    return source.rstrip("\n")


VERSIONS = {"student": student, "solution": solution, "grading": grading}


def make(sources: list[Path], out: Path, versions: list[str]) -> list[Path]:
    """Write versions of assignments to ``out/VERSION/NAME.ipynb``."""
    written = []
    for path in sources:
        notebook, name = read_notebook(path), load(path).name
        for version in versions:
            target = Path(out) / version / f"{name}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps(VERSIONS[version](notebook), indent=1, ensure_ascii=False) + "\n"
            write_whole(target, content.encode())
            written.append(target)
    return written


def main(arguments: list[str] | None = None) -> int:
    """`python -m colorlib.grading.source`: make the versions, and print where they are."""
    parser = argparse.ArgumentParser(prog="colorlib.grading.source", description=main.__doc__)
    parser.add_argument(
        "sources", nargs="*", type=Path, help="source notebooks [chapters/assignments/*.ipynb]"
    )
    parser.add_argument("--out", type=Path, default=BUILT)
    parser.add_argument("--version", action="append", choices=VERSIONS, help="this one alone; may come again")
    asked = parser.parse_args(arguments)
    try:
        sources = asked.sources or sorted(SOURCES.glob("*.ipynb"))
        if not sources:
            raise FileNotFoundError(f"there are no assignments in {SOURCES}")
        for path in make(sources, asked.out, asked.version or list(VERSIONS)):
            print(path)
    except (SourceError, OSError) as error:
        print(f"colorlib: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
