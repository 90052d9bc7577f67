"""How a check goes: ask the function, compare, and say in plain words what is wrong with its value.

A `Task` is a function of an assignment. It has cases; a `Case` asks the function for a value and knows the
one wanted, the property behind it, and the values that typical mistakes give. The first case whose value is
wrong makes a `Hint`: what came beside what was wanted, the property, and what the value says of the mistake.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from colorlib._check import choice
from colorlib.check.values import close, plain

# Assignments, in the order of the chapters; each is a module here that holds TASKS.
ASSIGNMENTS = ("spaces", "som", "classes", "sampler", "masked", "capstone")
HERE = "Where to look. "


@dataclass(frozen=True)
class Mistake:
    """A typical mistake: the value that it gives, what that says, and where to look for it."""

    key: str
    gives: Callable[[], object]
    says: str
    look: str


@dataclass(frozen=True)
class Case:
    """One question to a function.

    `ask` calls the function and gives its value; `wanted` makes the right one. `of` says in a few words what
    was asked, and `wants` the property that the right value has and a reason for it. `judge`, in place of
    comparing with `wanted`, takes a value and gives None, or a mistake's key and what came.
    """

    of: str
    ask: Callable[[Callable], object]
    wanted: Callable[[], object]
    wants: str
    mistakes: tuple[Mistake, ...] = ()
    tolerance: float = 1e-3
    judge: Callable[[Tensor], tuple[str, str] | None] | None = None
    otherwise: str = (
        "None of the usual mistakes gives this value, so the cause is one of your own. Go through the "
        "formula with the numbers of this case by hand, step by step, and compare each step with your code."
    )


@dataclass(frozen=True)
class Task:
    """A function of an assignment: how it is called, its cases, and a picture of what it makes."""

    name: str
    call: str
    cases: tuple[Case, ...]
    picture: Callable[[], object] | None = None


@dataclass(frozen=True)
class Hint:
    """What is wrong: a key that names the mistake, what to say first, and what to say when asked again."""

    key: str
    first: str
    second: str


@dataclass(frozen=True)
class Outcome:
    """What a check found: `hint` is None where all that it sees is right."""

    task: str
    hint: Hint | None

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return self.hint is None


def tasks(assignment: str) -> dict[str, Task]:
    """The functions of one assignment, by name."""
    module = import_module(f"colorlib.check.{choice(assignment, 'assignment', ASSIGNMENTS)}")
    return {task.name: task for task in module.TASKS}


def names() -> list[str]:
    """Names of all functions that a check knows, in the order of the assignments.

    >>> names()[:3]
    ['rgb_to_ycbcr', 'scale_chroma', 'colorfulness']
    """
    return [name for assignment in ASSIGNMENTS for name in tasks(assignment)]


def _task(name: str) -> Task:
    choice(name, "task", names())
    return next(found[name] for a in ASSIGNMENTS if name in (found := tasks(a)))


def target(task: str):
    """Show the picture that the assignment's function makes when it is right, as a figure for a notebook.

    >>> target("rgb_to_ycbcr")
    grid of 4 images...
    """
    wanted = _task(task)
    if wanted.picture is None:
        raise ValueError(f"task must be one with a picture; got {task!r}")
    return wanted.picture()


_last: dict[str, str] = {}  # the mistake that each task's last check named


def check(task: str, answer: Callable) -> None:
    """Try your function for a task of an assignment, and print what is wrong with it, or that nothing is.

    The first time it says what is wrong with the value; with the same mistake again, where to look. An answer
    that is no function, or a task that isn't known, raises TypeError or ValueError.
    """
    found = look(task, answer)
    if found.hint is None:
        _last.pop(task, None)
        print(
            f"{task}: right, as far as this check sees. Grading asks for the same properties on other cases, "
            "so this is no promise of all points."
        )
        return
    again = _last.get(task) == found.hint.key
    _last[task] = found.hint.key
    print(f"{task}: not yet.\n\n{found.hint.second if again else found.hint.first}")
    if not again:
        print("\nCall the check again to be told where to look.")


def look(task: str, answer: Callable) -> Outcome:
    """Do what a check does and give what it found in place of printing it; arguments as for the check."""
    wanted = _task(task)
    if not callable(answer):
        raise TypeError(
            f"answer must be your function itself, without brackets or call; got {type(answer).__name__}"
        )
    for case in wanted.cases:
        hint = _try(wanted, case, answer)
        if hint is not None:
            return Outcome(task, hint)
    return Outcome(task, None)


def _try(task: Task, case: Case, answer: Callable) -> Hint | None:
    state = torch.get_rng_state()
    try:
        value = case.ask(answer)
    except NotImplementedError:
        return _said(task, case, "blank", _BLANK, "Nothing came", _BLANK_LOOK)
    except Exception as error:
        where = _where(error, answer)
        text = str(error).strip().split("\n")[0][:120]
        first = f"Your function stopped with {type(error).__name__}{f': {text}' if text else ''}{where}"
        return _said(task, case, "raises", _RAISES, first, _RAISES_LOOK)
    finally:
        torch.set_rng_state(state)  # a check changes no random numbers of the notebook
    try:
        value = plain(value)
    except TypeError:
        first = f"Your function gave {_article(type(value).__name__)}"
        return _said(task, case, "nothing" if value is None else "type", *_kind(value, first))
    if case.judge is not None:
        return None if (found := case.judge(value)) is None else _named(task, case, *found)
    wanted = plain(case.wanted())
    if close(value, wanted, case.tolerance):
        return None
    if value.shape != wanted.shape:
        key, first = (
            "shape",
            f"Your value has the shape {tuple(value.shape)}; wanted was {tuple(wanted.shape)}",
        )
    elif value.is_floating_point() and not value.isfinite().all():
        broken = int((~value.isfinite()).sum())
        key, first = "nan", f"Of your {value.numel()} numbers {broken} are NaN or infinite"
    else:
        key, first = "other", _beside(value, wanted)
    known = next((m.key for m in case.mistakes if close(value, m.gives(), case.tolerance)), key)
    return _named(task, case, known, first)


def _named(task: Task, case: Case, key: str, first: str) -> Hint:
    """The hint on a mistake by its key: one of the case's own, or one that any case may have."""
    for mistake in case.mistakes:
        if mistake.key == key:
            return _said(task, case, key, mistake.says, first, mistake.look)
    common = {
        "shape": (_SHAPE, _SHAPE_LOOK),
        "nan": (_NAN, _NAN_LOOK),
        "other": (case.otherwise, _OTHER_LOOK),
    }
    says, look = common[key]
    return _said(task, case, key, says, first, look)


def _said(task: Task, case: Case, key: str, says: str, first: str, look: str) -> Hint:
    return Hint(key, f"{first}. This was asked: {case.of}. {case.wants} {says}", f"{HERE}{look}")


def _beside(value: Tensor, wanted: Tensor) -> str:
    """Tell the number that is farthest off beside the one wanted."""
    if not value.dim():
        return f"Your value is {_number(value)}; wanted was {_number(wanted)}"
    difference = (value.double() - wanted.double()).abs()
    place = int(difference.flatten().argmax())
    index = [int(i) for i in torch.unravel_index(torch.tensor(place), value.shape)]
    theirs, right = _number(value.flatten()[place]), _number(wanted.flatten()[place])
    return f"At the place {index} your value is {theirs}; wanted was {right}"


def _number(x: Tensor) -> str:
    return f"{float(x):.4g}"


def _article(word: str) -> str:
    return f"an object of the type {word}" if word != "NoneType" else "nothing, None"


def _where(error: BaseException, answer: Callable) -> str:
    """The line of the notebook that stopped: the last one that is in the same file as the function."""
    code = getattr(answer, "__code__", None)
    if code is None:
        return ""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == code.co_filename]
    return f", in its line {lines[-1].lineno - code.co_firstlineno + 1}" if lines else ""


def _kind(value, first: str) -> tuple[str, str, str]:
    return (_NOTHING, first, _NOTHING_LOOK) if value is None else (_TYPE, first, _TYPE_LOOK)


_BLANK = (
    "So far the body of your function is the one that was handed out, which stops on purpose. Begin small: "
    "write the first line of the formula, print what it gives for this case, and go on from there. You may "
    "call the check as often as you like; nobody sees or counts it."
)
_BLANK_LOOK = (
    "Replace the line with NotImplementedError by your own code, run that cell, and then run the check "
    "again. The text above the cell has the formula; the chapter it names has the idea in a figure."
)
_RAISES = (
    "So there is no value to compare yet. An error message reads best from its last line: it names what was "
    "met and what was expected. Most often two shapes don't fit, or a name is misspelled."
)
_RAISES_LOOK = (
    "Print the shapes of the arguments as the first line of your function, and of each thing that you "
    "compute from them. The error comes from the first line whose shape is not the one that you had in "
    "mind. A dimension of size 1, made with [..., None] or keepdim=True, often makes two shapes fit."
)
_NOTHING = (
    "A function without a return statement gives None, whatever it has computed before. So your work may be "
    "right, and is only not handed back."
)
_NOTHING_LOOK = (
    "End the function with return and the name of your result. See that the return stands at the level of "
    "the function's body, and not inside a loop or an if that is not reached."
)
_TYPE = (
    "Only a tensor, an array or numbers can be compared. A function, a list of names, a picture object or "
    "the like can't, and an object that claims to be equal to all is not asked."
)
_TYPE_LOOK = (
    "Look at the line with return. Give the tensor itself, and not a tuple of it and other things, a text, "
    "or a function that is still to be called."
)
_SHAPE = (
    "A wrong shape most often means that a sum, a mean or an argmin went along another dimension than was "
    "meant, or that one dimension got lost or came in beside."
)
_SHAPE_LOOK = (
    "Find the operation that has a dim in its arguments, and count the dimensions from 0: is it the one that "
    "is to vanish? Then print the shape before and after it. A mean without dim goes over all dimensions."
)
_NAN = (
    "Such numbers come from a division of zero by zero, from the logarithm of zero or a negative number, or "
    "from exp of a large one, which no float can hold. They spread: whatever touches them becomes NaN too."
)
_NAN_LOOK = (
    "Look for the division, the logarithm or the exp. Could its argument be zero, negative or large here? "
    "torch has functions that do such a step safely in one: softmax, logsumexp, softplus."
)
_OTHER_LOOK = (
    "Write down by hand what each line should give for the smallest case that you can think of: one pixel, "
    "one color, two classes. Print what your line gives. The first line that differs is the one."
)
