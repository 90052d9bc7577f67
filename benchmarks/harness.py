"""Times a function of this library beside what people use instead.

How to add a benchmark
----------------------
Write a file ``benchmarks/bench_NAME.py`` with

- ``PACKAGES``: a tuple of the packages it compares with, as they are called when installed. The results tell
  their versions.
- ``comparisons()``: yields `Comparison` objects. Each is timed before the next is asked for, so its data may
  be large. What is made there is not timed.

What a contestant is
--------------------
A callable without arguments that does the whole work and returns its result. Data is prepared for each
contestant in the layout and dtype that it likes best, outside the callable. No contestant pays for a
conversion that its own users would not need.

How they are timed
------------------
Each contestant runs twice to warm up, and `check` compares the results. Then all of them run in turn, in
rounds, in the same process, each round in another order. So a machine that slows down slows all of them. A
contestant quicker than 20 ms is called several times in a round, and the mean is its time. The ratio, peer's
time / our time, is taken in each round. Its median is reported, with its smallest and largest value.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Comparison:
    """One piece of work, done by us and by others.

    Parameters
    ----------
    name : str
        What is done, on what data.
    ours : callable
        This library's way.
    peers : dict of str to callable
        The others' ways, by their names.
    aims : dict of str to float
        For some or all of the peers: how many times as fast as the peer this library wants to be.
    check : callable or None
        Called before any timing as ``check(our_result, {peer: result})``. Raises `AssertionError` where the
        results do not agree, or where ours is worse. May return a sentence with the figures it compared.
    shares : dict of str to float
        For peers too slow to be run whole: the share of the work that their callable does. Their times are
        divided by it, and the note must say so.
    note : str
        What a reader should know about the data or the contestants.
    items : tuple of int and str, or None
        How many things one call makes, and what they are, for a table that tells them by the second.
    """

    name: str
    ours: Callable[[], Any]
    peers: dict[str, Callable[[], Any]]
    aims: dict[str, float] = field(default_factory=dict)
    check: Callable[[Any, dict[str, Any]], str | None] | None = None
    shares: dict[str, float] = field(default_factory=dict)
    note: str = ""
    items: tuple[int, str] | None = None

    def __post_init__(self):
        for what, named in (("an aim", self.aims), ("a share", self.shares)):
            unknown = set(named) - set(self.peers)
            if unknown:
                raise ValueError(
                    f"{self.name}: {what} for {sorted(unknown)}, but the peers are {sorted(self.peers)}"
                )


@dataclass
class Row:
    """The times of one contestant in seconds, and its ratio to ours: (median, smallest, largest)."""

    contestant: str
    seconds: tuple[float, float, float]
    ratio: tuple[float, float, float] | None = None
    aim: float | None = None

    @property
    def met(self):
        """Whether the median ratio reaches the aim; None where there is no aim."""
        return None if self.aim is None else self.ratio[0] >= self.aim


OURS = "colorlib"


def measure(comparison, seconds=20.0, clock=time.perf_counter):
    """Check a comparison and time it: a list of `Row`, ours first, and what the check said.

    There are 5 to 25 rounds, as many as fit into `seconds`, or 3 where 5 do not fit.
    """
    contestants = {OURS: comparison.ours, **comparison.peers}
    first, results = {}, {}
    for name, function in contestants.items():
        results[name] = function()
        start = clock()
        function()  # the first call loads code and fills caches: it is no measure
        first[name] = clock() - start
    remark = ""
    if comparison.check is not None:
        peers = {name: results[name] for name in comparison.peers}
        remark = comparison.check(results[OURS], peers) or ""
    del results

    calls = {name: max(1, math.ceil(0.02 / max(duration, 1e-9))) for name, duration in first.items()}
    round_time = sum(first[name] * calls[name] for name in contestants)
    fitting = int(seconds / round_time)
    rounds = min(fitting, 25) if fitting >= 5 else 3
    times = {name: [] for name in contestants}
    order = list(contestants)
    for _ in range(rounds):
        order = order[1:] + order[:1]
        for name in order:
            gc.collect()
            gc.disable()
            start = clock()
            for _ in range(calls[name]):
                contestants[name]()
            times[name].append((clock() - start) / calls[name] / comparison.shares.get(name, 1))
            gc.enable()

    rows = [Row(OURS, _spread(times[OURS]))]
    for name in comparison.peers:
        ratios = [theirs / ours for theirs, ours in zip(times[name], times[OURS], strict=True)]
        rows.append(Row(name, _spread(times[name]), _spread(ratios), comparison.aims.get(name)))
    return rows, remark


def _spread(values):
    return statistics.median(values), min(values), max(values)
