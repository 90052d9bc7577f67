"""A folder of all kinds of files: each good picture comes out right, each bad one is named, none is lost."""

import hashlib
import os
import re
import subprocess
import sys
import unicodedata
import warnings
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path, PurePosixPath

import hostile
import numpy as np
import pytest
from handmade import gray_of_color, lightness
from PIL import Image, ImageCms
from typer.testing import CliRunner

from colorlib import zoo
from colorlib.cli import app
from colorlib.data import Folder, World, read

pytestmark = pytest.mark.slow  # half a thousand files are read in each of several ways

CASES = hostile.cases()
FAMILIES = list(dict.fromkeys(case.name.split("/")[0] for case in CASES))
STEP = 100 / 255  # of lightness


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    hostile.build(folder)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    model = zoo.build("cic", World(16), {"width": 4}).eval()
    model.image_size = 16
    return zoo.save(model, tmp_path_factory.mktemp("weights") / "small.safetensors")


def of(family, folder):
    return [case for case in CASES if case.name.startswith(family) and os.path.lexists(folder / case.name)]


def wrong(got, right, within=STEP):
    """What is wrong with a gray picture, (H, W): nothing if it is right to a step of 8 bits."""
    if got.shape != right.shape:
        return f"{got.shape} in place of {right.shape}"
    off = np.minimum(abs(lightness(got) - lightness(right)), abs(got - right) * 100).max()
    return "" if off <= within else f"lightness is off by {off:.2f}"


def test_there_are_kinds_enough():
    assert len(CASES) > 500 and sum(case.pages is None for case in CASES) > 40
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("family", FAMILIES)
def test_good_pictures_are_read_right(family, folder):
    faults = []
    for case in of(family, folder):
        for number, right in enumerate(case.pages or (), 1):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                try:
                    fault = wrong(read(folder / case.name, gray=True, page=number)[0].numpy(), right)
                except ValueError as error:
                    fault = "" if case.refusable and str(folder / case.name) in str(error) else str(error)
            if fault or (said and not case.warns) or len(said) > 1:
                faults.append((case.name, number, fault, [str(one.message) for one in said]))
        if case.pages and not case.refusable:
            with pytest.raises(ValueError):
                read(folder / case.name, page=len(case.pages) + 1)
    assert not faults


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_ones_are_named_once_in_a_sentence(family, folder, recwarn):
    faults = []
    for case in of(family, folder):
        if case.pages is None:
            with pytest.raises((ValueError, OSError)) as error:
                read(folder / case.name)
            message = str(error.value)
            odd = [word for word in ("\n", "0x", "BytesIO", "Errno", "DOS", "Traceback") if word in message]
            if message.count(PurePosixPath(case.name).name) != 1 or odd or len(message) > 500:
                faults.append((case.name, message))
    assert not faults and not recwarn.list


@pytest.mark.filterwarnings("ignore:.*profile")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_zip_file_gives_the_same(family, folder, tmp_path):
    by_side = {}
    for case in of(family, folder):
        name = case.name.encode("utf-8", "replace").decode()
        # A backslash in a zip file is Windows' mark for a folder.
        if (
            isinstance(case.data, bytes)
            and case.pages
            and not case.refusable
            and name == case.name.replace("\\", "")
        ):
            by_side.setdefault(min(case.pages[0].shape), []).append(case)
    faults = []
    for side, group in by_side.items():
        path = tmp_path / f"{side}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for case in group:
                archive.writestr(case.name, case.data)
        pictures = Folder(path, size=side)
        assert sorted(pictures.names) == sorted(case.name for case in group)
        squares = pictures.batch(range(len(pictures)))["rgb"].permute(0, 2, 3, 1).numpy()
        at = {name: place for place, name in enumerate(pictures.names)}
        for case in group:
            right = case.pages[0]
            top, left = ((length - side) // 2 for length in right.shape)
            fault = wrong(gray_of_color(squares[at[case.name]]), right[top : top + side, left : left + side])
            faults += [(case.name, fault)] if fault else []
    assert not faults


def test_bad_ones_in_a_zip_file_have_a_stand_in(tmp_path):
    bad = [case for case in CASES if case.pages is None and isinstance(case.data, bytes)]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.png", hostile.png([[200] * 3] * 3))
        for case in bad:
            archive.writestr(case.name, case.data)
    pictures = Folder(tmp_path / "a.zip", size=3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            batch = pictures.batch(range(len(pictures)))["rgb"]
    assert len(pictures) == len(bad) + 1 and abs(batch - 200 / 255).max() < 1e-6
    text = [str(one.message) for one in said]
    assert [sum(case.name in line for line in text) for case in bad] == [1] * len(bad) and len(text) == len(
        bad
    )


# One call of the command line on the whole folder.


def state(folder):
    """All that lies there: kind, size, time and contents."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        about = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        found[path.relative_to(folder).as_posix()] = about.st_mode, about.st_size, about.st_mtime_ns, digest
    return found


def colorize(*arguments):
    result = CliRunner().invoke(app, ["colorize", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def in_call(case):
    """Of the profiles, which the tests above read in every format, those in one."""
    return not case.name.startswith("profiles/") or "png" in case.name


@pytest.fixture(scope="session")
def call(weights, tmp_path_factory):
    """The call as a process whose output can show ASCII alone; what was there before and after."""
    folder = tmp_path_factory.mktemp("call")
    hostile.build(folder / "in", in_call)
    before = state(folder / "in")
    arguments = [folder / "in", "--out", folder / "out", "--model", weights, "--format", "png"]
    done = subprocess.run(
        [sys.executable, "-m", "colorlib", "colorize", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        timeout=300,
    )
    return done, folder / "out", before, arguments


def expected(names):
    """Where each page of a good picture goes, as far as its name is its own; and the other pages."""
    pages, shared = {}, []
    good = [case for case in CASES if case.pages and case.name in names]
    plain = [
        unicodedata.normalize("NFC", str(PurePosixPath(case.name).with_suffix(""))).casefold()
        for case in good
    ]
    for case, name in zip(good, plain, strict=True):
        for number, right in enumerate(case.pages, 1):
            ending = f"-page-{number}.png" if number > 1 else ".png"
            if plain.count(name) > 1 or case.name.startswith("collide/") or case.refusable:
                shared.append((case, right))
            else:
                pages[str(PurePosixPath(case.name).with_suffix("")) + ending] = right
    return pages, shared


def shown(path):
    """The gray that a result shows; what it says beside its pixels has to be nothing, or sRGB."""
    with Image.open(path) as image:
        assert image.getexif().get(274, 1) == 1 and image.mode in ("RGB", "RGBA"), path
        if icc := image.info.get("icc_profile"):
            assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(icc))), path
        assert "gamma" not in image.info or "srgb" in image.info, path
        return gray_of_color(np.asarray(image)[..., :3] / 255)


def test_every_good_picture_is_colored_at_its_own_lightness(call):
    _, out, before, _ = call
    pages, shared = expected(before)
    faults = [name for name in pages if not (out / name).is_file()]
    for name in pages.keys() - set(faults):
        fault = wrong(shown(out / name), pages[name], STEP + 0.3)  # the result is rounded, too
        faults += [(name, fault)] if fault else []
    assert not faults
    # Those that share a name are all there, each once: they are told by their gray.
    others = [
        path for path in out.rglob("*") if path.is_file() and path.relative_to(out).as_posix() not in pages
    ]
    refusable = [right for case, right in shared if case.refusable]
    rest = [right for case, right in shared if not case.refusable]
    left = [shown(path) for path in others]
    for right in rest:
        fitting = [k for k, got in enumerate(left) if not wrong(got, right, STEP + 0.3)]
        assert fitting, f"a picture of {right.shape}, {right.flat[0] * 255:.0f}, has no result"
        left.pop(fitting[0])
    assert all(any(not wrong(got, right, STEP + 0.3) for right in refusable) for got in left)


def test_results_are_whole_and_have_names_of_their_own(call):
    done, out, _, _ = call
    results = [path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()]
    assert all(name.endswith(".png") for name in results)
    plain = Counter(unicodedata.normalize("NFC", name).casefold() for name in results)
    assert max(plain.values()) == 1, plain.most_common(3)
    lines = done.stdout.decode("ascii").splitlines()
    assert sum(line.rstrip("'\"").endswith(".png") for line in lines) == len(results)


def test_every_bad_file_is_named_once_and_no_good_one(call):
    done, _, before, _ = call
    said = done.stderr.decode("ascii")
    assert done.returncode == 1 and "Traceback" not in said
    faults, passed_over = [line for line in said.splitlines() if ".py:" in line], 0
    for case in CASES:
        if case.name in before and case.name.isascii() and case.name.isprintable():
            lines = [line for line in said.splitlines() if case.name in line]
            allowed = {1} if case.pages is None else {0, 1} if case.warns or case.refusable else {0}
            if case.pages is None and callable(case.data):  # links to nothing and a pipe: named, or counted
                allowed = {0, 1}
                passed_over += not lines
            elif case.pages == () and not callable(case.data):
                passed_over += not any(part.startswith((".", "__MACOSX")) for part in case.name.split("/"))
            if said.count(case.name) not in allowed or any("0x" in line or "Errno" in line for line in lines):
                faults.append((case.name, lines))
    assert not faults
    assert re.findall(r"(\d+) other files", said) == [str(passed_over)]


def test_a_second_call_does_nothing_unasked(call):
    _, out, before, arguments = call
    assert state(arguments[0]) == before  # the sources are as they were
    there = state(out)
    again = colorize(*arguments, "--skip")
    assert again.exit_code == 1 and not [line for line in again.stdout.splitlines() if line.endswith(".png")]
    refused = colorize(*arguments)
    assert refused.exit_code == 1 and "there already" in refused.stderr
    assert state(out) == there and state(arguments[0]) == before


def test_good_pictures_alone_are_no_failure(weights, tmp_path):
    made = hostile.build(
        tmp_path / "in", lambda case: case.name.split("/")[0] in ("endings", "maps", "shapes")
    )
    result = colorize(tmp_path / "in", "--out", tmp_path / "out", "--model", weights)
    assert result.exit_code == 0 and not result.stderr, result.stderr
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == len(made)
