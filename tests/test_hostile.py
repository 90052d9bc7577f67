"""A folder of all kinds of files: each good picture comes out right, each bad one is named, none is lost."""

import numpy as np
import pytest
from hostile import cases, lightness, make

from colorlib.data import read
from colorlib.data.pictures import pages

CASES = cases()
GOOD = [name for name, case in CASES.items() if case.pages is not None]
BAD = [name for name, case in CASES.items() if case.pages is None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    make(folder)
    return folder


def shown(rgb):
    return lightness(rgb.permute(1, 2, 0).double().numpy())


def differs(got, right, tolerance):
    if got.shape != right.shape:
        return f"{got.shape} for {right.shape}"
    off = np.abs(got - right).max()
    return f"lightness off by {off:.2f}" if off > tolerance else None


def test_there_are_kinds_enough():
    assert len(CASES) >= 120 and len(BAD) >= 12


@pytest.mark.filterwarnings("ignore:.*color profile that can't be used")
@pytest.mark.parametrize("name", GOOD)
def test_a_good_picture_is_read_right(folder, name):
    case = CASES[name]
    assert pages(folder / name) == len(case.pages)
    for number, right in enumerate(case.pages, 1):
        for source in (folder / name, case.content):
            assert not differs(shown(read(source, page=number)), right, case.tolerance), differs(
                shown(read(source, page=number)), right, case.tolerance
            )


@pytest.mark.parametrize("name", [*BAD, "a folder.jpg", "pipe.jpg", "onto itself.png"])
def test_a_bad_one_is_named_once_in_a_sentence(folder, name, recwarn):
    with pytest.raises((ValueError, OSError)) as caught:
        read(folder / name)
    said = str(caught.value)
    assert said.count(str(folder / name)) == 1 and "\n" not in said
    assert not any(word in said for word in ("BytesIO", "DOS", "Errno", "object at 0x")), said
    assert not recwarn.list
