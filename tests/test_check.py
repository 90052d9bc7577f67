"""The checks of the assignments' functions: what they say of right answers, and of typical wrong ones."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from answers import WRONG

import colorlib
from colorlib import check, color
from colorlib.check import engine
from colorlib.check.values import chance, close, gradient, plain
from colorlib.models import masked
from colorlib.models.losses import discriminator_loss

CASES = [
    pytest.param(name, key, code, id=f"{name}: {key}")
    for questions in WRONG.values()
    for name, answers in questions.items()
    for key, _, code in answers
]
MISTAKES = [
    pytest.param(task, case, mistake, id=f"{task.name}: {mistake.key}")
    for assignment in engine.ASSIGNMENTS
    for task in engine.tasks(assignment).values()
    for case in task.cases
    for mistake in case.mistakes
]


def made(name, code):
    """A function of a notebook's cell."""
    known = {"torch": torch, "color": color, "F": F}
    exec(compile(code, "<cell>", "exec"), known)
    return known[name]


@pytest.mark.parametrize("name, key, code", CASES)
def test_a_typical_wrong_answer_gets_its_hint(name, key, code):
    hint = check.look(name, made(name, code)).hint
    assert hint.key == key
    assert 80 <= len(hint.first.split()) <= 160, hint.first
    assert 8 <= len(hint.second.split()) <= 80 and hint.second.startswith("Where to look.")


@pytest.mark.parametrize("task, case, mistake", MISTAKES)
def test_every_mistake_is_told_apart(task, case, mistake):
    """Its value is neither the right one nor another mistake's, and its hint has the length wanted."""
    if case.judge is None:
        value = mistake.gives()
        assert not close(value, case.wanted(), case.tolerance)
        same = [m.key for m in case.mistakes if close(value, m.gives(), case.tolerance)]
        assert same == [mistake.key]
    hint = engine._named(task, case, mistake.key, "At the place [0, 1] your value is 3.5; wanted was 4.25")
    assert 80 <= len(hint.first.split()) <= 160, hint.first


def test_every_assignment_has_ten_wrong_answers_or_more():
    assert set(WRONG) == set(engine.ASSIGNMENTS)
    for assignment, questions in WRONG.items():
        assert set(questions) == set(engine.tasks(assignment))
        assert sum(map(len, questions.values())) >= 10


def test_what_the_library_computes_itself_is_right():
    """An independent way to the same values: the checks' cases are made by other code."""

    def annealed(logits, bins, temperature):
        odds = (logits.double() - logits.amax(-1, keepdim=True)) / temperature
        return ((odds - odds.logsumexp(-1, keepdim=True)).exp() @ bins.double()).float()

    def soft(ab, bins, k, sigma):
        assert torch.equal(bins, color.ab_bins())
        indices, weights = color.soft_encode(ab, k, sigma)
        return torch.zeros(len(ab), 313).scatter(1, indices, weights)

    model = masked.MaskedGAN.small(width=1)
    right = {
        "rgb_to_ycbcr": color.rgb_to_ycbcr,
        "colorfulness": color.colorfulness,
        "nearest": lambda data, neurons: torch.cdist(data, neurons).argmin(1),
        "soft_encode": soft,
        "rebalancing_weights": color.rebalancing_weights,
        "annealed_mean": annealed,
        "mask_loss": lambda painted, ab, mask: model.mask_cost(painted, ab * mask),
        "discriminator_loss": lambda real, fake: discriminator_loss(real, fake, "vanilla"),
    }
    for name, function in right.items():
        assert check.look(name, function).passed, check.look(name, function)


def test_a_second_call_says_where_to_look(capsys):
    answer = made("mask_loss", WRONG["masked"]["mask_loss"][0][2])
    texts = []
    for _ in range(3):
        assert check("mask_loss", answer) is None
        texts.append(capsys.readouterr().out)
    hint = check.look("mask_loss", answer).hint
    assert hint.first in texts[0] and hint.second not in texts[0]
    assert hint.second in texts[1] and texts[1] == texts[2]
    other = made("mask_loss", WRONG["masked"]["mask_loss"][3][2])
    check("mask_loss", other)  # another mistake is told from the beginning
    assert check.look("mask_loss", other).hint.first in capsys.readouterr().out
    check("mask_loss", lambda painted, ab, mask: ((painted - ab * mask) ** 2).sum(1).mean())
    assert "right" in capsys.readouterr().out


def test_a_right_check_promises_nothing(capsys):
    check("rebalancing_weights", color.rebalancing_weights)
    assert "no promise" in capsys.readouterr().out


class Agreeable(torch.Tensor):
    """Equal to everything, in every way that it is asked."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        return torch.tensor(True)

    def __eq__(self, other):
        return True


@pytest.mark.parametrize(
    "value", [Agreeable([0.0]), np.array([object()]), "0.2", object(), [1, "a"], lambda: 1, {}, 1j]
)
def test_a_value_that_claims_to_equal_everything_gets_nothing(value):
    hint = check.look("mask_loss", lambda *_: value).hint
    assert hint is not None
    if isinstance(value, Agreeable):
        assert type(plain(value)) is torch.Tensor and plain(value).tolist() == [0.0]
        assert not close(value, torch.tensor([1.0]))


def test_what_raises_says_where():
    def mine(painted, ab, mask):
        wrong = painted.reshape(3, 5)
        return wrong

    first = check.look("mask_loss", mine).hint.first
    assert "RuntimeError" in first and "in its line 2" in first


def test_a_check_leaves_the_chance_of_the_notebook_alone():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    check.look("sample", lambda model, count, height, width, generator: torch.rand(2))
    assert torch.equal(torch.rand(2), wanted)


@pytest.mark.parametrize("name", check.names())
def test_a_blank_function_gets_a_friendly_hint_and_a_right_one_a_target(name):
    def blank(*arguments):
        raise NotImplementedError

    hint = check.look(name, blank).hint
    assert hint.key == "blank" and 80 <= len(hint.first.split()) <= 160
    assert "data:image/webp" in check.target(name).markup


def test_gradient_and_close_are_what_they_say():
    x = torch.tensor([1.0, -2.0, 3.0])
    torch.testing.assert_close(gradient(lambda a, b: (a * b).sum(), x, x + 1, wrt=1), x)
    assert gradient(lambda a: torch.ones(2), x).tolist() == [0, 0, 0]
    assert gradient(lambda a: 3.0, x).tolist() == [0, 0, 0]
    nan = torch.tensor([float("nan"), 1.0])
    assert close(nan, nan) and not close(torch.ones(2), nan) and not close(nan, torch.ones(2))
    assert not close(torch.ones(1, 2), torch.ones(2)) and close(torch.tensor(1e6), torch.tensor(1e6 + 50))


def test_cases_of_a_class_differ_by_its_seed(monkeypatch):
    one = torch.rand(3, generator=chance("a"))
    assert not torch.equal(one, torch.rand(3, generator=chance("b")))
    monkeypatch.setenv("COLORLIB_GRADING_SEED", "1")
    assert not torch.equal(one, torch.rand(3, generator=chance("a")))


def test_a_check_needs_no_other_package_and_no_network():
    """What it imports beyond the library is on Colab: nothing of Otter or of a notebook's formats."""
    code = """
    import socket, sys
    def refuse(*arguments, **options): raise OSError("no network here")
    socket.socket.connect = refuse
    from colorlib import check
    for name in check.names():
        check.look(name, lambda *arguments: None)
    from colorlib.check import target
    target("rgb_to_ycbcr")
    for forbidden in ("otter", "nbformat", "jupyter_client", "colorlib.grading"):
        assert forbidden not in sys.modules, forbidden
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_colorlib_check_can_be_called_however_it_is_imported():
    import colorlib.check as another

    assert another is check and colorlib.check is check and callable(check)
    with pytest.raises(ValueError, match="task must be one of rgb_to_ycbcr, .*; got 'sky'"):
        check("sky", len)
    with pytest.raises(TypeError, match="answer must be your function itself"):
        check("sample", 3)
