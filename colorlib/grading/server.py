"""The process that starts a process for each submission: it has imported all that is slow, and knows no test.

``python -m colorlib.grading.server`` is started once. For each request it forks a watcher, and the watcher
the process of the submission, so that importing costs once. That process is handed cells and arguments, and
gives values back; what is wanted, what counts and who else hands in is nowhere in its memory. The watcher
ends it, with all that it has started, when it takes too much, when the grader closes the line, or when it is
done.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from colorlib.grading import sandbox
from colorlib.grading.wire import Channel, Garbled

EVERY = 0.04  # seconds between two looks of the watcher
LAST = 2.0  # seconds that cleaning up may take


def serve(control: socket.socket) -> None:
    """Fork for each request until the grader closes the line."""
    import numpy  # noqa: F401 imported here once, so that no submission has to
    import torch
    from IPython.core.inputtransformer2 import TransformerManager

    from colorlib import check, classic, color, data, metrics, models, show  # noqa: F401
    from colorlib.check import capstone  # noqa: F401
    from colorlib.grading import cells  # noqa: F401

    torch.set_num_threads(1)
    TransformerManager().transform_cell("%pwd\n1")
    torch.nn.functional.conv2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)).sum()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.collect()
    gc.freeze()  # a collection in the children would copy all of it
    control.sendall(b"ready\n")
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not select.select([control], [], [], 0.5)[0]:
            continue
        message, ends, _, _ = socket.recv_fds(control, 65536, 2)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _watch(json.loads(message), *ends)
        for end in ends:
            os.close(end)
        control.sendall(b"k")


def _watch(asked: dict, data: int, status: int) -> None:
    """The watcher: start the submission's process, see what it takes, end it, say why. It never returns."""
    why = {"why": "lost"}
    line = socket.socket(fileno=status)
    try:
        os.setsid()
        with suppress(Exception):
            sandbox._libc().prctl(sandbox.SUBREAPER, 1, 0, 0, 0)  # what is orphaned comes to the watcher
        walls = sandbox.separate()
        child = os.fork()
        if child == 0:
            line.close()
            _submission(asked, socket.socket(fileno=data), walls)
        os.close(data)
        line.sendall(json.dumps({"pid": child}).encode() + b"\n")
        why = _until_the_end(asked, child, line)
        _end_all(child)
    finally:
        with suppress(Exception):
            line.sendall(json.dumps(why).encode() + b"\n")
        os._exit(0)


def _until_the_end(asked: dict, child: int, line: socket.socket) -> dict:
    base = sandbox.used(child)[0]
    since, look = None, 0
    while True:
        readable = select.select([line], [], [], EVERY)[0]
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return {"why": "ended", "status": status}
        use = sandbox.used(child)
        if readable:
            said = line.recv(64)
            if not said:
                return {"why": "done"}
            since = (time.monotonic(), *use[1:]) if said.endswith(b"w") else None
        others = sandbox.descendants(child)
        uses = [use, *map(sandbox.used, others)]
        if sum(u[1] for u in uses) > asked["seconds"]:
            return {"why": "time"}
        if since is not None:
            # Time in which it neither computed nor waited for a core: it slept, or waits in vain.
            slept = time.monotonic() - since[0] - (use[1] - since[1]) - (use[2] - since[2])
            if slept > asked["seconds"]:
                return {"why": "time"}
        if sum(max(0, u[0] - base) for u in uses) > asked["memory"]:
            return {"why": "memory"}
        if len(others) > asked["processes"]:
            return {"why": "processes"}
        look += 1
        if look % 8 == 0:
            size, count = sandbox.size_of(Path(asked["scratch"]))
            if size > 4 * asked["file_size"] or count > 5_000:
                return {"why": "files"}


def _end_all(child: int) -> None:
    """End the process and all that it started, also what it tried to cut loose."""
    until = time.monotonic() + LAST
    while time.monotonic() < until:
        for pid in (child, *sandbox.descendants(os.getpid())):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


# The submission's own process.


def _submission(asked: dict, end: socket.socket, walls: list[str]) -> None:
    """Confine this process, run the cells, answer calls. It never returns."""
    code = 1
    try:
        os.setsid()
        scratch = Path(asked["scratch"])
        os.chdir(scratch)
        os.environ.clear()
        os.environ.update(HOME=str(scratch), TMPDIR=str(scratch), PATH="/usr/bin:/bin", LANG="C.UTF-8")
        os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg", MPLCONFIGDIR=str(scratch))
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        for handle in range(3, 256):
            if handle != end.fileno():
                with suppress(OSError):
                    os.close(handle)
        held = sandbox.limit(asked["memory"], asked["file_size"], asked["seconds"])
        held += sandbox.shut(scratch, sandbox.python_paths())
        channel = Channel(end)
        channel.send({"walls": [wall for wall in sandbox.WALLS if wall in (*walls, *held)]})
        _answer(channel)
        code = 0
    except (EOFError, OSError, Garbled):
        code = 0  # the grader has hung up
    finally:
        os._exit(code)


def _answer(channel: Channel) -> None:
    from colorlib.grading import cells

    names: dict = {}
    while True:
        place: dict = {}
        asked = channel.receive(function=lambda call, place=place: _of_the_grader(channel, call, place))
        place["number"] = asked.get("number")
        if asked["do"] == "load":
            given = cells.parse(asked["given"], first=0)
            notebook = cells.parse(asked["cells"])
            found = cells.choose(notebook, asked["names"], given, asked["all"])
            # What was found is told before any of the submission's code runs, and can't be changed by it.
            said = {"notes": found.notes, "missing": found.missing}
            said["broken"] = [f"cell {b['cell']}, line {b['line']}: {b['what']}" for b in notebook.broken]
            channel.send(said)
            _seed()
            channel.send({"stopped": cells.execute(found, names)[:20]})
        else:
            channel.send({**_call(names, asked), **place})


def _seed() -> None:
    import numpy
    import torch

    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


def _of_the_grader(channel: Channel, which: int, place: dict):
    """What stands for a function that the grader hands over, such as a model to be sampled from."""

    def call(*arguments):
        channel.send({"call": which, "arguments": list(arguments), **place})
        given = channel.receive()
        if "stopped" in given:
            raise RuntimeError(given["stopped"])
        return given["value"]

    return call


def _call(names: dict, asked: dict) -> dict:
    """Call a function of the submission: what it gave, or why it gave nothing."""
    import torch

    from colorlib.check.values import gradient
    from colorlib.grading.wire import pack

    try:
        arguments = asked["arguments"]
        function = names.get(asked["name"])
        if not callable(function):
            return {"stopped": f"there is no function {asked['name']} after its cells have run"}
        _seed()
        if asked["do"] == "gradient":
            given = gradient(function, *arguments, wrt=asked["wrt"])
        else:
            given = function(*arguments)
        if asked["do"] == "called":
            given = [given, [a for a in arguments if isinstance(a, torch.Tensor)]]
        pack(given)  # a value that can't be handed over is named here
        return {"value": given}
    except NotImplementedError as error:
        return {"stopped": f"NotImplementedError: {str(error)[:200]}", "blank": True}
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they end nothing here
        return {"stopped": f"{type(error).__name__}: {str(error)[:300]}"}


def main() -> None:
    """Serve on the socket that standard input is."""
    control = socket.socket(fileno=os.dup(0))
    # Whatever the submissions do, the server and its children die with the grader.
    with suppress(Exception):
        sandbox._libc().prctl(sandbox.DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(control)


if __name__ == "__main__":
    sys.exit(main())
