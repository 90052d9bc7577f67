"""One submission: its cells to the process that runs them, the tests here, and what came of it.

The tests run in the grader's process. A test's function gets, in the place of a student's function, one that
sends the arguments over and takes the value as plain arrays. So the other side never learns what is wanted,
and can forge nothing: only a right value is worth points.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

import colorlib
from colorlib.check import engine
from colorlib.grading.source import Assignment, Question
from colorlib.grading.wire import Channel, Garbled

LARGEST = 256 * 2**20  # bytes of a submitted file
MOST_CELLS, LONGEST = 2_000, 2_000_000  # code cells of a notebook, and characters in all of them
WORDS = {
    "time": "it took longer than it may",
    "memory": "it used more memory than it may",
    "processes": "it started more processes than it may",
    "files": "it wrote more than it may",
    "ended": "its program ended",
    "lost": "its program was lost",
    "garbled": "it wrote something of its own to the grader",
}


@dataclass(frozen=True)
class Limits:
    """What a submission may take: seconds of CPU, bytes of memory and of a file, processes of its own."""

    seconds: float = 20.0
    memory: int = 2 * 2**30
    file_size: int = 64 * 2**20
    processes: int = 16


@dataclass
class Result:
    """What came of a submission: by question and test what passed, or why not; and remarks."""

    submission: str
    points: float = 0.0
    tests: dict[str, dict[str, str]] = field(default_factory=dict)
    earned: dict[str, float] = field(default_factory=dict)
    hints: dict[str, list[str]] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    walls: list[str] = field(default_factory=list)

    def text(self) -> str:
        """As JSON, the same for the same result."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


class Stopped(Exception):
    """A student's function gave no value: why, in words for the student."""


class Gone(Stopped):
    """The submission's process is no more."""


class Server:
    """The process that starts the submissions' processes; see `colorlib.grading.server`."""

    def __init__(self):
        self._lock = threading.Lock()
        self._control, other = socket.socketpair()
        home = str(Path(colorlib.__file__).parents[1])
        # No seed and nothing else of the grader's: what is in its environment, a submission could read.
        keep = {k: os.environ[k] for k in ("PATH", "LANG", "LD_LIBRARY_PATH") if k in os.environ}
        paths = os.pathsep.join([home, *(path for path in sys.path if path)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "colorlib.grading.server"],
            stdin=other, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tempfile.gettempdir(),
            env={**keep, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        other.close()
        self._ready = False

    def start(self, asked: dict) -> tuple[Channel, socket.socket]:
        """Start a process: the channel to it, and the line to its watcher."""
        mine, theirs = socket.socketpair()
        line, watcher = socket.socketpair()
        with self._lock:
            if not self._ready and self._control.recv(6) != b"ready\n":
                raise RuntimeError("the process that starts the submissions could not begin")
            self._ready = True
            socket.send_fds(self._control, [json.dumps(asked).encode()], [theirs.fileno(), watcher.fileno()])
            if self._control.recv(1) != b"k":
                raise RuntimeError("the process that starts the submissions has ended")
        theirs.close()
        watcher.close()
        return Channel(mine), line

    def close(self) -> None:
        """End the server. Submissions that run are ended by their watchers."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class _Session:
    """A submission's process, from its start to its end."""

    def __init__(self, server: Server, limits: Limits, assignment: Assignment, cells: list[str]):
        self.scratch = Path(tempfile.mkdtemp(prefix="submission-"))
        self.seconds, self.why = limits.seconds, None
        self.channel, self.line = server.start({**asdict(limits), "scratch": str(self.scratch)})
        try:
            self.walls = self._receive()["walls"]
            names = [question.name for question in assignment.questions]
            asked = {"do": "load", "names": names, "cells": cells, "given": assignment.set_up}
            self._send({**asked, "all": assignment.run_all})
            self.found = self._receive()
            self.stopped = [str(text)[:300] for text in self._receive()["stopped"]][:20]
        except BaseException:
            self.close()
            raise

    def call(self, do: str, name: str, arguments: tuple, wrt: int = 0):
        """Let a function of the submission be called; its value, or Stopped."""
        calls: list = []
        # An answer repeats the number of its question: one that was written before it was asked can't.
        number = secrets.token_hex(8)
        asked = {"do": do, "name": name, "arguments": list(arguments), "wrt": wrt, "number": number}
        self._send(asked, calls)
        while True:
            answer = self._receive()
            if answer.get("number") != number:
                self.why = "garbled"
                raise Gone(WORDS["garbled"])
            if "call" in answer:
                self._send(_called_back(calls, answer))
            elif "value" in answer:
                return answer["value"]
            else:
                raise Stopped("blank" if answer.get("blank") else str(answer.get("stopped"))[:400])

    def _send(self, value, calls: list | None = None) -> None:
        try:
            self.channel.end.settimeout(60)
            self.channel.send(value, calls)
        except OSError:
            raise Gone(self._reason()) from None

    def _receive(self) -> dict:
        """The next message. The watcher is told that we wait, so that it knows who is slow."""
        try:
            self.line.sendall(b"w")
            # The watcher keeps the time; this is for the case that it is gone too.
            answer = self.channel.receive(30 + 20 * self.seconds)
            self.line.sendall(b"i")
        except (EOFError, OSError):
            raise Gone(self._reason()) from None
        except Garbled:
            self.why = "garbled"
            raise Gone(WORDS["garbled"]) from None
        if not isinstance(answer, dict):
            self.why = "garbled"
            raise Gone(WORDS["garbled"])
        return answer

    def _reason(self) -> str:
        if self.why is None:
            self.line.settimeout(5)
            said = b""
            with suppress(OSError, ValueError):
                while part := self.line.recv(4096):
                    said += part
            lines = [json.loads(text) for text in said.split(b"\n") if text.startswith(b"{")]
            ends = [line for line in lines if "why" in line]
            self.why = ends[-1]["why"] if ends else "lost"
            self.status = ends[-1].get("status", 0) if ends else 0
        if self.why == "ended" and self.status and os.WIFSIGNALED(self.status):
            return f"{WORDS['ended']} by the signal {os.WTERMSIG(self.status)}"
        return WORDS.get(self.why, WORDS["lost"])

    def close(self) -> None:
        """End the process and what it started, and remove its folder."""
        self.channel.close()
        with suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)
            self.line.settimeout(5)
            while self.line.recv(4096):  # until the watcher has cleaned up
                pass
        self.line.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


def _called_back(calls: list, asked: dict) -> dict:
    """Call a function of the test for the submission, which has none of it: only its value is handed over."""
    try:
        number = asked["call"]
        if type(number) is not int or not 0 <= number < len(calls):
            raise ValueError("there is no such function")
        with torch.no_grad():
            return {"value": calls[number](*asked["arguments"])}
    except Exception as error:
        return {
            "stopped": f"the function that was handed in stopped with {type(error).__name__}: {error}"[:300]
        }


class _Remote:
    """Stands for a student's function in a test: a call goes to the submission's process."""

    def __init__(self, runner: _Runner, name: str):
        self._runner, self._name = runner, name

    def __call__(self, *arguments, **named):
        if named:
            raise TypeError("a test hands arguments over by their places")
        return self._runner.call("call", self._name, arguments)

    def remote_gradient(self, arguments, wrt):
        """See `colorlib.check.values.gradient`."""
        return self._runner.call("gradient", self._name, arguments, wrt)

    def remote_call(self, arguments):
        """See `colorlib.check.values.called`."""
        value, after = self._runner.call("called", self._name, arguments)
        return value, after


class _Runner:
    """Runs the tests of one submission, in a fresh process whenever the one before was ended."""

    def __init__(self, server, limits, assignment, cells):
        self.server, self.limits, self.assignment, self.cells = server, limits, assignment, cells
        self.session: _Session | None = None
        self.lost: str | None = None

    def open(self) -> _Session:
        if self.session is None:
            self.session = _Session(self.server, self.limits, self.assignment, self.cells)
        return self.session

    def call(self, do: str, name: str, arguments, wrt: int = 0):
        session = self.open()
        try:
            return session.call(do, name, tuple(arguments), wrt)
        except Gone as error:
            self.lost = str(error)
            self.close()
            raise

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


def read_cells(path: Path) -> list[str]:
    """The code cells of a submitted notebook, of any version of the format; ValueError for what is none."""
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(
            f"the file has {size / 2**20:.0f} MB, more than the {LARGEST // 2**20} that are read"
        )
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        raise ValueError("the file is not a notebook: it is not JSON, or was cut off") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if cells is None and isinstance(notebook, dict):  # version 3 has sheets
        sheets = notebook.get("worksheets")
        sheets = sheets if isinstance(sheets, list) else []
        cells = [
            c for s in sheets if isinstance(s, dict) and isinstance(s.get("cells"), list) for c in s["cells"]
        ]
        cells = cells or None
    if not isinstance(cells, list):
        raise ValueError("the file is JSON, and not a notebook: it has no cells")
    found = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", cell.get("input", ""))
            if isinstance(source, list):
                source = "".join(part for part in source if isinstance(part, str))
            found.append(source if isinstance(source, str) else "")
    if len(found) > MOST_CELLS or sum(map(len, found)) > LONGEST:
        raise ValueError("the notebook holds more code than is read")
    if not any(source.strip() for source in found):
        raise ValueError("the notebook has no code cells")
    return found


def grade_one(server: Server, assignment: Assignment, limits: Limits, name: str, path: Path) -> Result:
    """Grade a submission. Whatever it does, a result comes back; what went wrong is in its words."""
    result = Result(name)
    result.earned = {question.name: 0.0 for question in assignment.questions}
    try:
        cells = read_cells(path)
    except (OSError, ValueError) as error:
        result.problem = str(getattr(error, "strerror", None) or error)
        return result
    runner = _Runner(server, limits, assignment, cells)
    try:
        session = runner.open()
    except Gone as error:
        result.problem = f"while the cells ran, {error}"
        return result
    try:
        result.walls = [str(wall) for wall in session.walls]
        result.notes = [str(note)[:300] for note in session.found["notes"]][:40]
        missing = {str(k): str(v)[:300] for k, v in session.found["missing"].items()}
        result.notes += session.stopped + [
            f"{text} (not Python)"
            for text in session.found["broken"]
            if not any(text[:9] in m for m in missing.values())
        ]
        for question in assignment.questions:
            _question(runner, question, missing.get(question.name), result)
    finally:
        runner.close()
    result.points = sum(result.earned.values())
    return result


def _question(runner: _Runner, question: Question, missing: str | None, result: Result) -> None:
    outcomes = result.tests[question.name] = {}
    points, runner.lost = 0.0, None
    for test in question.tests:
        if missing or runner.lost:
            outcomes[test.name] = missing or f"not tried: before, {runner.lost}"
            continue
        outcomes[test.name], measure = _test(runner, test)
        if outcomes[test.name] == "passed":
            points += test.points
            if measure is not None:
                result.measures[test.name] = measure
    result.earned[question.name] = min(max(points, 0.0), question.points)
    if any(said != "passed" for said in outcomes.values()) and not runner.lost:
        result.hints[question.name] = [missing] if missing else _hint(runner, question)


def _test(runner: _Runner, test) -> tuple[str, float | None]:
    """Run a test: "passed", or what a student may know of why not; and the number that it measured."""
    names: dict = {"__name__": "test"}
    exec(compile(test.code, f"<test {test.name}>", "exec"), names)
    (function,) = (
        v for k, v in names.items() if inspect.isfunction(v) and v.__code__.co_filename.startswith("<test")
    )
    try:
        given = function(*(_Remote(runner, name) for name in inspect.signature(function).parameters))
    except Gone as error:
        return str(error), None
    except Stopped as error:
        return ("it is blank" if str(error) == "blank" else f"it stopped with {error}"), None
    except AssertionError:
        return "its value is not the one wanted", None
    except Exception:  # a value of another kind than the test counted on
        return "its value is not of the kind wanted", None
    return "passed", float(given) if isinstance(given, (int, float)) else None


def _hint(runner: _Runner, question: Question) -> list[str]:
    """What the student's own check would say: it knows no hidden case."""
    try:
        if question.name not in engine.names():
            return []
        found = engine.look(question.name, _Remote(runner, question.name))
    except Gone as error:
        return [f"In the check, {error}."]
    except Exception:
        return []
    if found.hint is None:
        return [
            "The check finds nothing: the cases that it tries are right. Other cases of the same "
            "properties are not. Try other sizes, other numbers and the corner cases that the text names."
        ]
    return [found.hint.first, found.hint.second]


def fingerprint(path: Path, assignment_text: bytes, seed: str, limits: Limits) -> str:
    """What a result depends on: the file, the tests, the class's seed, the limits, this version."""
    digest = hashlib.sha256(f"{colorlib.__version__} {seed} {limits} ".encode())
    digest.update(hashlib.sha256(assignment_text).digest())
    with suppress(OSError):
        digest.update(path.read_bytes())
    return digest.hexdigest()
