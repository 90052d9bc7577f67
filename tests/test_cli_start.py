"""What the command line knows without torch, which takes seconds to load."""

import subprocess
import sys

import pytest

from colorlib import _catalog, zoo

WITHOUT_TORCH = """
import sys
from typer.testing import CliRunner
from colorlib.cli import app

for words in [{words!r}, ["--help"], ["models"]]:
    result = CliRunner().invoke(app, words)
    print(result.exit_code, result.output)
    assert "torch" not in sys.modules, words
"""


def test_the_catalog_says_what_the_registry_says():
    assert _catalog.models().keys() == zoo.MODELS.keys()
    for name, kind in zoo.MODELS.items():
        entry = _catalog.models()[name]
        assert entry.summary == kind.__doc__.splitlines()[0] and entry.recipes == list(kind.recipes)
        wanted = [(knob.name, knob.kind.__name__, knob.default, knob.help) for knob in kind.options()]
        assert [tuple(option) for option in entry.options] == wanted
    assert tuple(path.stem for path in _catalog.weights()) == zoo.shipped() != ()


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["models"], 0, "photographs "),
        (["colorize", "--help"], 0, "--vivid"),
        (["train", "--help"], 0, "--recipe"),
        (["colorize"], 2, "PICTURES"),
        (["colorize", "nowhere.png"], 1, "no picture or folder at nowhere.png"),
        (["colorize", ".", "--seed", "-1"], 2, "--seed"),
        (["colorize", ".", "--samples", "0"], 1, "--samples must be at least 1; got 0"),
        (["colorize", ".", "--skip", "--force"], 1, "give one of the two"),
        (["colorize", ".", "--format", "gif"], 1, "--format must be one of"),
        (["colorize", ".", "--model", "nothing"], 1, "no model 'nothing'"),
        (["colorize", ".", "-x"], 1, "no such option: -x"),
        (["colorize", ".", "--mask=a", "--mask=b"], 1, "--mask is given twice"),
    ],
)
@pytest.mark.slow
def test_help_and_mistakes_do_not_load_torch(words, code, message):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(words=words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{code} ") and message in done.stdout
