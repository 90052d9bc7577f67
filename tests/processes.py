"""Processes that need not import torch: forked from a server that has, and has done nothing else since."""

import multiprocessing
import os
import sys
import textwrap

# Not this process's own fork, which could hang in a lock of torch's.
CONTEXT = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    CONTEXT.set_forkserver_preload(
        ["torch", "pytest", "colorlib.training", "colorlib.data", "colorlib.models"]
    )


class Script:
    """A script in a process of its own, with its arguments in `sys.argv[1:]`; what it says can be read."""

    def __init__(self, script, *arguments, **environment):
        receive, send = CONTEXT.Pipe(duplex=False)
        arguments = [str(argument) for argument in arguments]
        self.process = CONTEXT.Process(
            target=_execute, args=(textwrap.dedent(script), arguments, environment, send)
        )
        self.process.start()
        send.close()
        self.said = os.fdopen(os.dup(receive.fileno()))
        receive.close()
        self.pid, self.kill = self.process.pid, self.process.kill

    def wait(self, timeout=120):
        """How it ended: 0, or the negative number of a signal, or another. No more is read then."""
        self.said.close()
        self.process.join(timeout)
        assert self.process.exitcode is not None, "it hangs"
        return self.process.exitcode

    def running(self):
        return self.process.is_alive()


def _execute(script, arguments, environment, send):
    os.environ.update(environment)
    for stream in (1, 2):
        os.dup2(send.fileno(), stream)
    send.close()
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    sys.argv = ["-c", *arguments]
    exec(script, {"__name__": "script"})


def run(script, *arguments, **environment):
    """Run a script to its end, which has to be a good one, and return what it said."""
    started = Script(script, *arguments, **environment)
    said = started.said.read()
    assert started.wait() == 0, said
    return said
