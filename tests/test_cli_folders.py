"""``colorlib colorize`` on whole folders: several threads, batches, strips, pairs, the contact sheet."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import tqdm
from PIL import Image
from typer.testing import CliRunner

from colorlib import _flow, zoo
from colorlib.cli import app
from colorlib.color import rgb_to_gray
from colorlib.data import World, margin, pairs, pictures, read, saving
from colorlib.models import CIC


def run(*arguments):
    result = CliRunner().invoke(app, ["colorize", *(str(argument) for argument in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    colors = torch.tensor([[60.0, 40.0], [-50.0, 40.0], [20.0, -60.0]]).repeat(50, 1)
    torch.manual_seed(0)
    model = CIC.for_data(lambda: colors, {"width": 4, "mix": 0.5}).eval()
    for tensor in model.parameters():
        tensor.data.mul_(1.5)  # so that colors differ from place to place
    model.image_size = 16
    return zoo.save(model, tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """Two threads of pictures, on any machine; torch is left as it is."""
    monkeypatch.setattr(_flow.Work, "several", lambda work, count: 2 if count > 1 and not work.chance else 1)


def photograph(path, size=(40, 30), seed=0, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(20, 236, (4, 5, 3), dtype=np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).save(path, **how)
    return path


def shown(path):
    return np.asarray(Image.open(path).convert("RGB"), int)


def made(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def mixed(folder):
    """Pictures of several sizes, most of one; one is turned by its EXIF, one is a print with a margin."""
    for number in range(8):
        photograph(folder / f"{number}.png", seed=number)
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(folder / "2b.png", seed=20, exif=exif)
    photograph(folder / "3b.png", (31, 50), seed=21)
    scan = np.full((30, 40, 3), 230, np.uint8)
    scan[5:-5, 5:-5] = shown(photograph(folder / "4b.png", (30, 20), seed=22))
    Image.fromarray(scan).save(folder / "4b.png")
    return sorted(path.name for path in folder.iterdir())


# Many at once.


def test_together_and_alone_are_the_same(weights, tmp_path, monkeypatch):
    names, batches, strips = mixed(tmp_path / "in"), [], CIC.strips

    def counted(model, gray, *arguments, **knobs):
        batches.append(len(gray))
        return strips(model, gray, *arguments, **knobs)

    monkeypatch.setattr(CIC, "strips", counted)
    result = run(tmp_path / "in", "--model", weights, "--out", tmp_path / "all")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(tmp_path / "all" / name) for name in names]
    assert max(batches) > 1
    for name in names:
        assert run(tmp_path / "in" / name, "--model", weights, "--out", tmp_path / "one").exit_code == 0
    both = [np.stack([shown(tmp_path / out / name).ravel() for name in names[:3]]) for out in ("all", "one")]
    assert np.ptp(both[1], axis=0).max() > 20  # so one in the place of another would be seen
    for name in names:
        one, other = (shown(tmp_path / out / name) for out in ("all", "one"))
        assert one.shape == other.shape and abs(one - other).max() <= 1, name


def test_a_seed_means_the_same_in_a_folder(tmp_path):
    small = {"backbone": "small", "stride": 2, "width": 8, "blocks": 1, "hidden_channels": 16}
    model = zoo.build("pixcolor", World(16), small)
    model.image_size = 8
    drawing = zoo.save(model, tmp_path / "drawing.safetensors")
    for number in range(3):
        photograph(tmp_path / "in" / f"{number}.png", (8, 6), seed=number)
    options = ("--model", drawing, "--seed", 5, "--samples", 2)
    assert run(tmp_path / "in", *options, "--out", tmp_path / "all").exit_code == 0
    for number in range(3):
        assert run(tmp_path / "in" / f"{number}.png", *options, "--out", tmp_path / "one").exit_code == 0
    files = made(tmp_path / "all")
    assert files == made(tmp_path / "one") and len(files) == 6
    assert all((tmp_path / "all" / f).read_bytes() == (tmp_path / "one" / f).read_bytes() for f in files)


def test_reports_and_warnings_stay_in_the_order_of_the_pictures(weights, tmp_path):
    for number in range(9):
        photograph(tmp_path / "in" / f"{number}.png", seed=number)
    for number in (0, 4, 5):
        path = tmp_path / "in" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:200])
    photograph(tmp_path / "in" / "7.png", icc_profile=b"no profile of any kind" * 20)
    result = run(tmp_path / "in", "--model", weights, "--out", tmp_path / "out")
    assert result.exit_code == 1 and "3 of 9 pictures failed" in result.output
    told = [Path(line.split(".png")[0]).name for line in result.stdout.splitlines()]
    assert told == list("123678")
    warned = [Path(line.split(".png")[0]).name for line in result.stderr.splitlines()[:-1]]
    assert warned == list("0457"), result.stderr  # and none of them is said of another picture
    assert len(made(tmp_path / "out")) == 6


@pytest.mark.parametrize("place", [1, 6])
def test_a_stop_leaves_whole_files_and_names_no_others(place, weights, tmp_path, monkeypatch):
    for number in range(30):
        photograph(tmp_path / "in" / f"{number:02}.png", seed=number)
    replace = os.replace

    def stopped(source, target):
        if Path(target).name == f"{place:02}.png":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    result = run(tmp_path / "in", "--model", weights, "--out", tmp_path / "out")
    assert result.exit_code == 130 and "--skip" in result.stderr
    there = made(tmp_path / "out")
    assert f"{place:02}.png" not in there and len(there) < 29
    assert {Path(line).name for line in result.stdout.splitlines()} == set(there)
    for name in there:
        Image.open(tmp_path / "out" / name).load()
    monkeypatch.undo()
    assert run(tmp_path / "in", "--model", weights, "--out", tmp_path / "out", "--skip").exit_code == 0
    assert len(made(tmp_path / "out")) == 30


@pytest.mark.parametrize("pixels, most", [(2**25, 12), (3 * 1200, 3), (1, 1)])
def test_few_pictures_are_in_memory_at_once(pixels, most, weights, tmp_path, monkeypatch):
    for number in range(20):
        photograph(tmp_path / "in" / f"{number:02}.png", seed=number)
    held, seen, free, reading = set(), [], _flow.Picture.free, _flow.Work._read

    def counted(work, picture):
        held.add(picture.job.source.name)
        seen.append(len(held))
        reading(work, picture)

    def freed(picture):
        held.discard(picture.job.source.name)
        free(picture)

    monkeypatch.setattr(_flow, "PIXELS", pixels)
    monkeypatch.setattr(_flow.Work, "_read", counted)
    monkeypatch.setattr(_flow.Picture, "free", freed)
    assert run(tmp_path / "in", "--model", weights, "--out", tmp_path / "out").exit_code == 0
    assert len(seen) == 20 and max(seen) <= most and not held


# In strips.


def test_gray_is_read_in_strips(tmp_path, monkeypatch):
    path = photograph(tmp_path / "a.png", (37, 29))
    Image.open(path).convert("L").save(tmp_path / "gray.png")
    monkeypatch.setattr(pictures, "_AT_ONCE", 37 * 4)
    for name in ("a.png", "gray.png"):
        whole = rgb_to_gray(read(tmp_path / name))
        assert (read(tmp_path / name, gray=True) - whole).abs().max() < 1e-6


def test_a_margin_is_enlarged_in_strips():
    keep = np.zeros((31, 47), np.float32)
    keep[6:-7, 5:-4] = 1
    keep[5, 5:-4] = 0.5
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(keep)[None, None], (100, 150), mode="bilinear", align_corners=False
    )[0]
    for step in (100, 33, 1):
        image = Image.fromarray(keep)
        parts = [margin.rows(image, (100, 150), top, min(100, top + step)) for top in range(0, 100, step)]
        assert (torch.cat(parts, 1) - whole).abs().max() < 1e-3


# Before and after.


def test_pairs_show_the_gray_picture_and_its_coloring(weights, tmp_path):
    photograph(tmp_path / "in" / "sub" / "a.png", (300, 200))
    out = tmp_path / "out"
    result = run(tmp_path / "in", "--model", weights, "--out", out, "--compare")
    assert result.exit_code == 0 and made(out) == ["sub/a.before-after.jpg", "sub/a.png"], result.output
    assert result.stdout.splitlines() == [f"{out}/sub/a.png", f"{out}/sub/a.before-after.jpg"]
    pair, color = shown(out / "sub" / "a.before-after.jpg"), shown(out / "sub" / "a.png")
    assert pair.shape == (200, 603, 3)
    gray = 255 * read(tmp_path / "in" / "sub" / "a.png", gray=True)[0].numpy()
    assert abs(pair[:, :300] - gray[..., None]).mean() < 1.5 and abs(pair[:, 303:] - color).mean() < 1.5
    # It is no picture to color, and is not replaced unasked; what is missing is made.
    result = run(out, "--model", weights, "--out", tmp_path / "again")
    assert made(tmp_path / "again") == ["sub/a.png"] and "1 other file was passed over" in result.stderr
    (out / "sub" / "a.png").unlink()
    before = (out / "sub" / "a.before-after.jpg").read_bytes()
    result = run(tmp_path / "in", "--model", weights, "--out", out, "--compare")
    assert result.exit_code == 1 and "before-after.jpg is there already" in result.output
    assert run(tmp_path / "in", "--model", weights, "--out", out, "--compare", "--skip").exit_code == 0
    assert (out / "sub" / "a.before-after.jpg").read_bytes() == before and (out / "sub" / "a.png").exists()


def test_pairs_share_no_name_with_another_file(tmp_path):
    names = [
        "a.png",
        "a.jpg",
        "A.tif",
        "a.before-after.jpg",
        "contact-sheet.png",
        "b.png",
        "n" * 250 + ".png",
    ]
    found = [(tmp_path / str(k) / name, saving.PurePath(name)) for k, name in enumerate(names)]
    for samples in (1, 2):
        jobs, whole = saving.paired(saving.plan(found, tmp_path / "out", samples), tmp_path / "out")
        paths = [path for job in jobs for path in (*job.targets, *job.pairs)] + [whole]
        assert len({path.name.casefold() for path in paths}) == 2 * samples * len(names) + 1
        assert all(path.name.endswith(saving.PAIR) for job in jobs for path in job.pairs)
        assert all(len(path.name) <= saving.LONGEST for path in paths)


def test_a_contact_sheet_has_all_pictures(weights, tmp_path):
    for number in range(6):
        photograph(tmp_path / "in" / f"picture {number}.png", (80, 60 + number), seed=number)
    out, sheet = tmp_path / "out", tmp_path / "out" / "contact-sheet.before-after.jpg"
    arguments = (tmp_path / "in", "--model", weights, "--out", out)
    (tmp_path / "in" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    result = run(*arguments, "--sheet")
    assert result.exit_code == 1 and str(sheet) in result.stdout.splitlines()
    first = shown(sheet)
    for number in range(6):
        color = pairs.thumbnail(Image.open(out / f"picture {number}.png"))
        left = 12 + number % 4 * (2 * pairs.THUMB + 14) + pairs.THUMB + 2
        top = 12 + number // 4 * (pairs.THUMB + 32) + (pairs.THUMB - color.height) // 2
        at = first[top : top + color.height, left : left + color.width]
        assert abs(at - np.asarray(color, int)).mean() < 2
    sheet.unlink()
    (out / "picture 3.png").unlink()
    assert run(*arguments, "--sheet", "--skip").exit_code == 1  # those that are there are on it, too
    assert abs(shown(sheet) - first).mean() < 1
    result = run(*arguments, "--sheet")
    assert "is there already" in result.output
    before = sheet.read_bytes()
    run(*arguments, "--sheet", "--skip")
    assert sheet.read_bytes() == before


def test_a_sheet_of_very_many_pictures_is_no_longer_than_a_file_can_be(monkeypatch):
    monkeypatch.setattr(pairs, "_WIDEST", 2000)
    one = Image.new("RGB", (4, 3))
    sheet = pairs.contact_sheet([(one, one, "a long name " * 9)] * 60)
    assert sheet.width > 4 * 2 * pairs.THUMB and sheet.height <= 2000


# In plain words.


def test_vivid_stands_for_both_knobs(weights, tmp_path):
    picture = photograph(tmp_path / "a.png")
    files = {}
    for name, options in {
        "own": [],
        "vivid 1": ["--vivid", 1],
        "vivid 2": ["--vivid=2"],
        "both": ["--rebalance", 2, "--temperature", 0.38**2],
        "vivid 0": ["--vivid", 0],
        "muted": ["--rebalance", 0, "--temperature", 1],
    }.items():
        result = run(picture, "--model", weights, "--out", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
        files[name] = (tmp_path / name / "a.png").read_bytes()
    assert files["vivid 1"] == files["own"] and files["vivid 2"] == files["both"]
    assert files["vivid 0"] == files["muted"] and len(set(files.values())) == 3


@pytest.mark.parametrize(
    "model, options, message",
    [
        (
            "regression-world",
            [],
            "there is no --vivid for this model, a ResNetRegressor: it has no --rebalance",
        ),
        ("pixcolor-world-plain", [], "there is no --vivid for this model, a PixColor: it has no --rebalance"),
        ("cic-world", ["--temperature", "1"], "leave out --temperature"),
        ("cic-world", ["--rebalance=1"], "leave out --rebalance"),
    ],
)
def test_vivid_is_refused_where_it_means_nothing(model, options, message, tmp_path):
    picture = photograph(tmp_path / "a.png")
    result = run(picture, "--model", model, "--out", tmp_path / "o", "--vivid", 1.5, *options)
    assert result.exit_code == 1 and message in result.output, result.output
    assert run(picture, "--model", model, "--vivid", 2.5).exit_code == 2
    assert not (tmp_path / "o").exists()


# On a terminal.


def test_pictures_done_are_counted_on_a_terminal_and_nowhere_else(weights, tmp_path, monkeypatch):
    for number in range(3):
        photograph(tmp_path / "in" / f"{number}.png", seed=number)
    arguments = ("colorize", str(tmp_path / "in"), "--model", str(weights), "--out", str(tmp_path / "out"))

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    class Eager(tqdm.std.tqdm):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, mininterval=0, **settings)  # so few pictures take no time at all

    monkeypatch.setattr("tqdm.std.tqdm", Eager)
    for stream, count in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as done:
            app([*arguments, "--force"])
        assert done.value.code == 0 and ("3/3 [" in stream.getvalue()) == count


@pytest.mark.parametrize("margin", [False, True])
def test_half_precision_of_the_gray_changes_no_level_by_more_than_one(margin, weights, tmp_path, monkeypatch):
    picture = photograph(tmp_path / "a.png", (90, 70))
    if margin:
        with Image.open(picture) as image:
            image.paste("white", (0, 0, 90, 8))
            image.paste("white", (0, 62, 90, 70))
            image.paste("white", (0, 0, 8, 70))
            image.paste("white", (82, 0, 90, 70))
            image.save(picture)
    seen = []
    for least, name in ((2**24, "single"), (1, "half")):
        monkeypatch.setattr(_flow, "HALVED", least)
        assert run(picture, "--model", weights, "--out", tmp_path / name).exit_code == 0
        seen.append(shown(tmp_path / name / "a.png"))
    difference = np.abs(seen[0] - seen[1])
    assert 0 < difference.max() <= 1 and np.ptp(seen[0], axis=2).max() > 20
