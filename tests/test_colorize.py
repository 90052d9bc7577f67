"""``colorlib colorize``, as people use it on folders of old photographs."""

import io
import os
import sys
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import tqdm
from PIL import Image
from typer.testing import CliRunner

from colorlib import _flow, zoo
from colorlib.cli import app
from colorlib.color import rgb_to_lab
from colorlib.data import World, read
from colorlib.data.saving import endings
from colorlib.models import CIC, PixColor


def run(*arguments):
    result = CliRunner().invoke(app, ["colorize", *(str(argument) for argument in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    model = zoo.build("cic", World(16), {"width": 4}).eval()
    model.image_size = 16
    return zoo.save(model, tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """Weights of a model that draws."""
    small = {"backbone": "small", "stride": 2, "width": 8, "blocks": 1, "hidden_channels": 16}
    model = zoo.build("pixcolor", World(16), small)
    model.image_size = 8
    return zoo.save(model, tmp_path_factory.mktemp("weights") / "drawing.safetensors")


def photograph(path, size=(40, 30), mode="RGB", **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **how)
    return path


def landscape():
    """Soft shapes with grain, 120 x 100."""
    random = np.random.default_rng(0)
    shapes = Image.fromarray(random.integers(40, 216, (8, 9), dtype=np.uint8)).resize(
        (120, 100), Image.BICUBIC
    )
    return (np.asarray(shapes) + random.normal(0, 5, (100, 120))).clip(0, 255).astype(np.uint8)


def made(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# Whole folders.


def test_a_folder_of_old_photographs(weights, tmp_path):
    folder, out = tmp_path / "old", tmp_path / "new"
    photograph(folder / "a.jpg", (31, 1))
    photograph(folder / "a.png", mode="L")
    photograph(folder / "sub" / "a.tif", mode="LA")
    photograph(folder / "scan.pgm", mode="L")
    (folder / "torn.jpg").write_bytes(photograph(folder / "b.jpg").read_bytes()[:300])
    (folder / "notes.txt").write_text("no picture")
    result = run(folder, "--model", weights, "--out", out)
    assert result.exit_code == 1 and "1 of 6 pictures failed" in result.output
    assert [line.count("torn.jpg") for line in result.output.splitlines() if "torn" in line] == [1]
    assert "1 other file was passed over" in result.output
    assert made(out) == ["a.jpg", "a.png", "b.jpg", "scan.png", "sub/a.tif"]
    for name, kind in (("a.jpg", "JPEG"), ("a.png", "PNG"), ("scan.png", "PNG"), ("sub/a.tif", "TIFF")):
        with Image.open(out / name) as image:
            assert image.format == kind and image.mode == "RGB"
    (folder / "torn.jpg").unlink()
    assert run(folder, "--model", weights, "--out", out, "--skip").exit_code == 0


@pytest.mark.parametrize("ending, kind", [("png", "PNG"), (".JPG", "JPEG"), ("tiff", "TIFF")])
def test_all_in_one_format(ending, kind, weights, tmp_path):
    photograph(tmp_path / "in" / "a.jpg")
    photograph(tmp_path / "in" / "b.gif")
    photograph(tmp_path / "in" / "b.png")
    result = run(tmp_path / "in", "--model", weights, "--out", tmp_path / "out", "--format", ending)
    assert result.exit_code == 0, result.output
    ending = ending.lower().strip(".")
    assert made(tmp_path / "out") == [f"a.{ending}", f"b.gif.{ending}", f"b.png.{ending}"]
    for path in (tmp_path / "out").iterdir():
        with Image.open(path) as image:
            assert image.format == kind


def test_pictures_of_near_names_all_come_out(weights, tmp_path):
    folder = tmp_path / "in"
    names = ["a.jpg", "a.png", "a.gif", "a.jpg.png", "a.gif.png", "a.jpg-2.webp", "a-page-2.tif", "a-1.jpg"]
    for name in names:
        photograph(folder / name)
    pages = [Image.new("L", (20, 20), gray) for gray in (50, 150)]
    pages[0].save(folder / "a.tif", save_all=True, append_images=pages[1:])
    other = photograph(tmp_path / "other" / "a.jpg")
    for more in ((), ("--format", "png")):
        out = tmp_path / f"out{len(more)}"
        result = run(folder, other, other.parent, "--model", weights, "--out", out, *more)
        assert result.exit_code == 0, result.output
        files = {unicodedata.normalize("NFC", name).casefold() for name in made(out)}
        assert len(files) == len(names) + 3  # with two pages of one, and another a.jpg, once


def test_pages_come_out_each(weights, tmp_path):
    pages = [Image.fromarray(np.full((20 + k, 30), 60 * k, np.uint8)) for k in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    result = run(tmp_path / "a.tif", "--model", weights, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert made(tmp_path / "out") == ["a-page-2.tif", "a-page-3.tif", "a.tif"]
    for k, name in enumerate(("a.tif", "a-page-2.tif", "a-page-3.tif"), 1):
        assert Image.open(tmp_path / "out" / name).size == (30, 20 + k)


def test_colored_pictures_are_not_colored_again(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photograph(tmp_path / "a.jpg")
    assert run(".", "--model", weights).output.split() == ["colored/a.jpg"]
    result = run(".", "--model", weights, "--force")
    assert result.output.split() == ["colored/a.jpg"], result.output


# Nothing is lost, nothing is overwritten.


def test_nothing_is_overwritten_unasked(weights, tmp_path):
    picture = photograph(tmp_path / "a.png")
    before = picture.read_bytes()
    for force in ([], ["--force"], ["--skip"]):  # onto itself: the original would be lost
        result = run(picture, "--model", weights, "--out", tmp_path, *force)
        assert result.exit_code == 1 and "would replace a picture that is to be colored" in result.output
        assert picture.read_bytes() == before
    out = tmp_path / "out"
    assert run(picture, "--model", weights, "--out", out).exit_code == 0
    first = (out / "a.png").read_bytes()
    result = run(picture, "--model", weights, "--out", out, "--temperature", 1)
    assert result.exit_code == 1 and "is there already" in result.output
    assert (out / "a.png").read_bytes() == first
    result = run(picture, "--model", weights, "--out", out, "--temperature", 1, "--force")
    assert result.exit_code == 0 and (out / "a.png").read_bytes() != first


def test_pictures_are_safe_behind_links(weights, tmp_path):
    picture = photograph(tmp_path / "in" / "a.png")
    before = picture.read_bytes()
    (tmp_path / "folder").symlink_to(tmp_path / "in")
    for name in ("soft", "hard"):
        (tmp_path / name).mkdir()
    (tmp_path / "soft" / "a.png").symlink_to(picture)
    os.link(picture, tmp_path / "hard" / "a.png")
    for out in ("folder", "soft", "hard"):
        result = run(picture, "--model", weights, "--out", tmp_path / out, "--force")
        assert result.exit_code == 1 and "would replace a picture" in result.output, out
        assert picture.read_bytes() == before
    # A link to some other file is replaced itself, and not what it shows to.
    other = photograph(tmp_path / "other.png")
    before = other.read_bytes()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(other)
    assert run(picture, "--model", weights, "--out", tmp_path / "links", "--force").exit_code == 0
    assert other.read_bytes() == before and not (tmp_path / "links" / "a.png").is_symlink()


def test_skip_does_what_is_missing(drawing, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.jpg", "b.jpg", "c.pgm"):
        photograph(folder / name, (8, 6))
    options = ("--model", drawing, "--out", out, "--samples", 3)
    assert run(folder / "a.jpg", folder / "b.jpg", *options).exit_code == 0
    whole = {path: path.read_bytes() for path in out.iterdir()}
    assert len(whole) == 6 and len(set(whole.values())) == 3  # of two equal pictures
    (out / "b-2.jpg").unlink()
    (out / "a-3.jpg").write_bytes(b"kept")
    result = run(folder, *options, "--skip")
    assert result.exit_code == 0 and "1 of 3 pictures were there already" in result.output, result.output
    names = ["b-2.jpg", "c-1.png", "c-2.png", "c-3.png"]
    assert result.stdout.split() == [str(out / name) for name in names]
    assert (out / "a-3.jpg").read_bytes() == b"kept"
    assert (out / "b-2.jpg").read_bytes() == whole[out / "b-2.jpg"]  # the same sample as before
    assert run(folder, *options, "--skip", "--force").exit_code == 1
    result = run(folder, *options)
    assert result.exit_code == 1 and "--skip" in result.output


def test_many_samples_take_no_more_memory_than_a_few(drawing, tmp_path, monkeypatch):
    counts, color = [], PixColor.strips

    def counted(model, gray, samples=1, *arguments, **knobs):
        counts.append(samples)
        return color(model, gray, samples, *arguments, **knobs)

    monkeypatch.setattr(PixColor, "strips", counted)
    monkeypatch.setattr(_flow, "SAMPLED_AT_ONCE", 3 * 8 * 6)
    picture = photograph(tmp_path / "a.png", (8, 6))
    for out in ("one", "two"):
        result = run(picture, "--model", drawing, "--out", tmp_path / out, "--samples", 8, "--seed", 5)
        assert result.exit_code == 0, result.output
    files = [{path.name: path.read_bytes() for path in (tmp_path / out).iterdir()} for out in ("one", "two")]
    assert files[0] == files[1] and len(set(files[0].values())) == 8  # the same each time, and all different
    assert set(counts) == {1, 3, 2}  # 1 is the check of the settings, before any work


# One odd picture.


def test_odd_files_do_not_end_the_others_turn(weights, tmp_path, monkeypatch):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.jpg", "blocked.png", "huge.png", "z.jpg", "w\nith\tbreak.png", "n" * 245 + ".pgm"):
        photograph(folder / name, (60, 50) if name == "huge.png" else (40, 30), "L")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (out / "blocked.png" / "x").mkdir(parents=True)
    color = CIC.strips

    def with_little_memory(model, gray, *arguments, **knobs):
        if gray.shape[-1] == 60:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] can't allocate memory")
        return color(model, gray, *arguments, **knobs)

    monkeypatch.setattr(CIC, "strips", with_little_memory)
    names = sorted(folder.iterdir())
    result = run(*names, "--model", weights, "--out", out, "--skip")
    assert result.exit_code == 1 and f"5 of {len(names)} pictures failed" in result.output, result.output
    assert made(out) == sorted(["a.jpg", "n" * 245 + ".png", "w\nith\tbreak.png", "z.jpg"])
    for name in ("loop.jpg", "nowhere.jpg", "pipe.jpg", "huge.png", "blocked.png"):
        (line,) = (line for line in result.output.splitlines() if name in line)
        assert line.startswith("colorlib: ") and line.count(name) == 1
    assert "not enough memory for 60 x 50 pixels" in result.output and "alloc" not in result.output
    assert "w\\nith\\tbreak.png" in result.output


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_names_that_the_console_cannot_show(encoding, weights, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    photograph(folder / "照片 Ω.png")
    (folder / os.fsdecode(b"l\xe9.png")).write_bytes((folder / "照片 Ω.png").read_bytes())
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit) as done:
        app(["colorize", str(folder), "--model", str(weights), "--out", str(tmp_path / "out")])
    assert done.value.code == 0 and len(made(tmp_path / "out")) == 2
    streams[0].flush()
    shown = streams[0].buffer.getvalue().decode(encoding)
    assert ("照片" if encoding == "utf-8" else "\\u7167\\u7247") in shown and "l\\udce9.png" in shown


def test_a_stop_leaves_whole_files(weights, tmp_path, monkeypatch):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photograph(tmp_path / "in" / name)
    replace = os.replace

    def stopped(source, target):
        if Path(target).name == "b.jpg":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    result = run(tmp_path / "in", "--model", weights, "--out", tmp_path / "out")
    assert result.exit_code == 130 and "--skip" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jpg"]
    Image.open(tmp_path / "out" / "a.jpg").load()


# Before any work.


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model_says_whether_its_samples_differ(name):
    world = World(16)
    model = zoo.build(name, world, zoo.recipe(name).settings)
    first, second = model.colorize(world[0].gray[None], samples=2, seed=0)
    assert torch.equal(first, second) != model.draws


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere.png", "--model", "WEIGHTS"], "no picture or folder at nowhere.png"),
        (["PICTURE", "--model", "nothing"], "no model 'nothing'"),
        (["PICTURE", "--model", "WEIGHTS", "--samples", "0"], "samples must be at least 1"),
        (["PICTURE", "--model", "WEIGHTS", "--samples", "3"], "leaves nothing to chance"),
        (["PICTURE", "--model", "WEIGHTS", "--image-size", "0"], "image_size must be at least 1"),
        (["PICTURE", "--model", "WEIGHTS", "--temperature", "-1"], "temperature must be"),
        (["PICTURE", "--model", "WEIGHTS", "--format", "gif"], "--format must be one of"),
        (["PICTURE", "--model", "WEIGHTS", "--skip", "--force"], "one of the two"),
        (["PICTURE", "--model", ""], "--model must be a name or a path; got an empty text"),
        (["PICTURE", "--model", "WEIGHTS", "--out", ""], "--out must be a name or a path; got an empty"),
        (["", "--model", "WEIGHTS"], "PICTURES must be a name or a path; got an empty text"),
        (["PICTURE", "", "--model", "WEIGHTS"], "PICTURES must be a name or a path; got an empty text"),
        (["empty", "--model", "WEIGHTS"], "there are no pictures in empty"),
        ([".", "--model", "WEIGHTS", "--out", "."], "pictures in --out, ., are taken for results"),
        (["PICTURE", "--model", "WEIGHTS", "--out", "PICTURE"], "a.png can't be made a folder: File exists"),
        (
            ["PICTURE", "--model", "regression-world", "--temperature", "1"],
            "there is no --temperature",
        ),
        (["PICTURE", "--model", "WEIGHTS", "--top-p", "0.9"], "there is no --top-p for this model, a CIC"),
    ],
)
def test_mistakes_are_named(arguments, message, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = photograph(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    arguments = [{"WEIGHTS": weights, "PICTURE": picture}.get(argument, argument) for argument in arguments]
    result = run(*arguments)
    assert result.exit_code == 1 and message in result.output, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "empty"]


@pytest.mark.parametrize("option", [("--seed", -1), ("--seed", 2**63)])
def test_values_out_of_range_are_refused(option, weights, tmp_path):
    picture = photograph(tmp_path / "a.png")
    result = run(picture, "--model", weights, "--out", tmp_path / "o", *option)
    assert result.exit_code == 2 and option[0] in result.output


def test_a_place_that_cannot_be_written_is_named_before_any_work(weights, tmp_path):
    picture = photograph(tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    result = run(picture, "--model", weights, "--out", tmp_path / "file" / "o")
    assert result.exit_code == 1 and "file" in result.output


# The pictures themselves.


@pytest.mark.parametrize("ending, bound", [("png", 0.6), ("tif", 0.6), ("jpg", 3), ("avif", 3), ("webp", 3)])
def test_the_lightness_of_the_picture_is_kept(ending, bound, weights, tmp_path):
    if f".{ending}" not in endings():
        pytest.skip("the installed Pillow can't write it")
    picture = tmp_path / f"a.{ending}"
    Image.fromarray(landscape()).save(picture, **({"quality": 95} if bound > 1 else {}))
    assert run(picture, "--model", weights, "--out", tmp_path / "o").exit_code == 0
    lightness = [rgb_to_lab(read(path))[0] for path in (picture, tmp_path / "o" / picture.name)]
    # Both are rounded to 8 bits a channel, or compressed.
    assert (lightness[0] - lightness[1]).abs().quantile(0.99) < bound


def test_what_the_file_says_is_kept_with_the_models_name(weights, tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112], exif[0x0132] = "Grandmother", 6, "1931:02:03 04:05:06"
    for name, more in (("a.jpg", ()), ("b.tif", ("--format", "jpg"))):
        picture = photograph(tmp_path / name, mode="L", exif=exif, dpi=(300, 300))
        assert run(picture, "--model", weights, "--out", tmp_path / "o", *more).exit_code == 0
        with Image.open(tmp_path / "o" / name.replace("tif", "jpg")) as image:
            kept = image.getexif()
            assert image.size == (30, 40) and kept[0x0112] == 1 and "icc_profile" in image.info
            assert kept[0x010E] == "Grandmother" and kept[0x0132] == "1931:02:03 04:05:06"
            assert "small.safetensors" in kept[0x0131] and image.info["dpi"] == (300, 300)


@pytest.mark.parametrize("paper", [240, 15])
def test_a_margin_stays_neutral(paper, weights, tmp_path):
    scan = np.pad(landscape(), 20, constant_values=paper).astype(int)
    scan = (scan + np.random.default_rng(0).integers(-2, 3, scan.shape)).clip(0, 255)
    yellowish = np.stack([scan, scan, (scan * 0.97)], -1).astype(np.uint8)
    Image.fromarray(yellowish).save(tmp_path / "a.png")
    for options, neutral in (((), True), (("--no-margin",), False)):
        arguments = ("--model", weights, "--out", tmp_path / f"o{neutral}", "--temperature", 0, *options)
        assert run(tmp_path / "a.png", *arguments).exit_code == 0
        chroma = rgb_to_lab(read(tmp_path / f"o{neutral}" / "a.png"))[1:].norm(dim=0)
        assert chroma[30:-30, 30:-30].mean() > 2
        chroma[20:-20, 20:-20] = 0
        assert (chroma.max() < 0.5) == neutral


def test_rows_drawn_are_shown_on_a_terminal_and_nowhere_else(drawing, tmp_path, monkeypatch):
    picture = photograph(tmp_path / "a.jpg", (8, 6))  # 3 rows of cells
    arguments = ("colorize", str(picture), "--model", str(drawing), "--out", str(tmp_path / "out"), "--force")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("tqdm.tqdm", partial(tqdm.tqdm, mininterval=0))  # so few rows take no time at all
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as done:
            app(arguments)
        assert done.value.code == 0 and (tmp_path / "out" / "a.jpg").exists()
        assert ("a.jpg" in stream.getvalue() and "/3 " in stream.getvalue()) == shown


def test_a_model_s_own_options_are_read_by_their_kinds(tmp_path):
    masked = zoo.save(zoo.build("masked", World(16), {"width": 4, "layers": 2}), tmp_path / "m.safetensors")
    for name in ("a", "b"):
        photograph(tmp_path / "in" / f"{name}.png")
    (tmp_path / "masks").mkdir()
    left = np.zeros((30, 40), np.uint8)
    left[:, :20] = 255
    for name, mask in (("a", left), ("b", 255 - left)):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.gif")
    command = [tmp_path / "in", "--model", masked, "--format", "png"]
    made = {}
    for what, option in {"all": [], "each": [f"--mask={tmp_path / 'masks'}"]}.items():
        result = run(*command, "--out", tmp_path / what, *option)
        assert result.exit_code == 0, result.output
        made[what] = [np.asarray(Image.open(tmp_path / what / f"{name}.png"), float) for name in "ab"]
    model = zoo.load(masked)
    for number, mask in enumerate((left, 255 - left)):
        gray = read(tmp_path / "in" / f"{'ab'[number]}.png", gray=True)
        right = model.colorize(gray[None], mask=torch.from_numpy(mask / 255)[None, None].float())[0, 0]
        assert np.abs(made["each"][number] - right.movedim(0, -1).numpy() * 255).max() <= 1
    assert not np.array_equal(made["all"][0], made["each"][0])
    picture = tmp_path / "in" / "a.png"
    for option, message in (
        (["--mask", tmp_path / "nowhere.png"], "nowhere.png"),
        (["--mask"], "--mask needs a value: A picture of the same size"),
        (["--mask", tmp_path / "in"], None),
        (["--dropout"], "there is no --dropout for this model, a MaskedGAN; its options: --mask"),
        (["--mask=1", "--mask=2"], "--mask is given twice"),
        (["-x"], "no such option: -x"),
    ):
        result = run(picture, "--model", masked, "--out", tmp_path / "o", *option)
        assert message is None or (result.exit_code == 1 and message in result.output), result.output
    gan = zoo.save(
        zoo.build("gan", World(16), {"width": 4, "depth": 3, "layers": 1}), tmp_path / "g.safetensors"
    )
    result = run("--dropout", picture, "--model", gan, "--out", tmp_path / "g")
    assert result.exit_code == 0 and (tmp_path / "g" / "a.png").exists(), result.output
    result = run(picture, "--model", gan, "--dropout=yes", "--out", tmp_path / "g")
    assert result.exit_code == 1 and "--dropout takes no value; got 'yes'" in result.output
    result = run(picture, "--model", "cic-world", "--temperature", "hot", "--out", tmp_path / "g")
    assert result.exit_code == 1 and "--temperature must be a number; got 'hot'" in result.output


def test_colors_end_at_edges_where_that_is_wished(weights, tmp_path):
    picture = photograph(tmp_path / "a.png", (60, 40))
    made = []
    for name, option in (("own", []), ("on", ["--guided"]), ("off", ["--no-guided"])):
        assert run(picture, "--model", weights, "--out", tmp_path / name, *option).exit_code == 0
        made.append((tmp_path / name / "a.png").read_bytes())
    assert made[0] == made[2] != made[1]
