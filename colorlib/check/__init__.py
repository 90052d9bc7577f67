"""Checks of the assignments' functions, for the one who writes them: ``check("annealed_mean", mine)``.

A check tries your function on a few small cases, offline and within a second. Where a value is wrong, it says
first what is wrong with it beside what was wanted, and, called again, where to look. Grading tries the same
properties on other cases, which are not in this package.

>>> from colorlib import check
>>> check("mask_loss", lambda painted, ab, mask: ((painted - ab * mask) ** 2).sum(1).mean())
mask_loss: right, as far as this check sees. ...
"""

import sys
import types

from colorlib.check.engine import Outcome, check, look, names, target

__all__ = ["Outcome", "check", "look", "names", "target"]


class _Check(types.ModuleType):
    """A module that can be called: `from colorlib import check` gives the module, as every import does."""

    def __call__(self, task, answer):
        return check(task, answer)


sys.modules[__name__].__class__ = _Check
