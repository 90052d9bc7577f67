"""Pictures going out: names, whole files, and what a file says about its picture."""

import io
import os
import struct
import unicodedata
from pathlib import Path, PurePath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, IptcImagePlugin
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from colorlib.data import saving
from colorlib.data.metadata import SHOT, Metadata, read_metadata
from colorlib.data.pictures import listing, open_picture
from colorlib.data.srgb import to_srgb

TELLING = [ending for ending in (".jpg", ".png", ".tif", ".webp", ".avif") if ending in saving.endings()]
GRAY = torch.linspace(0.1, 0.9, 24).expand(3, 16, 24)

# Names that come close to each other: few letters, endings, numbers as samples and pages get them.
stems = st.lists(
    st.sampled_from(
        ["a", "A", "ß", "SS", "é", "e\u0301", ".jpg", ".png", ".gif", "-1", "-2", "-page-2", "n" * 130]
    ),
    min_size=1,
    max_size=3,
).map("".join)
names = st.builds(
    lambda folder, stem, ending: PurePath(f"{folder}{stem}{ending}"),
    st.sampled_from(["", "", "x/", "X/", "a.jpg/"]),
    stems,
    st.sampled_from([".jpg", ".JPG", ".png", ".gif", ".pgm", ".tif", ".webp", ""]),
)
folders = st.sampled_from([Path("p"), Path("q")])
pictures = st.lists(st.tuples(folders, names), unique=True, min_size=1, max_size=12)


def planned(pairs, monkeypatch, **options):
    """The names of a plan, each with its picture; every third TIFF has two pages."""
    monkeypatch.setattr(saving, "pages", lambda path: 1 + (len(path.name) % 3 == 0))
    jobs = saving.plan([(folder / name, name) for folder, name in pairs], Path("out"), **options)
    assert {job.source for job in jobs} == {folder / name for folder, name in pairs}
    return [(target, job.source) for job in jobs for target in job.targets]


def alike(path):
    """What a file system that ignores case and the composition of letters makes of a path."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(pictures, st.integers(1, 3), st.sampled_from([None, ".png", ".jpg"]), st.data())
def test_no_two_results_share_a_name(pairs, samples, ending, data):
    with pytest.MonkeyPatch.context() as monkeypatch:
        whole = planned(pairs, monkeypatch, samples=samples, ending=ending)
        some = data.draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
        before = planned(some, monkeypatch, samples=samples, ending=ending)
    files = {alike(path) for path, _ in whole}
    assert len(files) == len(whole) and len(whole) >= samples * len(pairs)
    assert not files & {alike(folder) for path, _ in whole for folder in path.parents}
    assert all(len(os.fsencode(path.name)) <= 255 for path, _ in whole)
    assert all(path.suffix.lower() in saving.endings() for path, _ in whole)
    # What an earlier call with fewer pictures gave to one of them is never given to another one.
    earlier = {alike(path): source for path, source in before}
    assert all(earlier.get(alike(path), source) == source for path, source in whole)


def test_names_that_are_free_stay_as_they_are(monkeypatch):
    free = ["a.jpg", "b.JPEG", "c.tif", "d.webp", "sub/a.jpg", "e.jfif", "f.bmp", "g.PNG"]
    pairs = [(Path("p"), PurePath(name)) for name in [*free, "h.pgm", "i", "j.gif", "j.png"]]
    made = [path.relative_to("out").as_posix() for path, _ in planned(pairs, monkeypatch)]
    assert made == [*free, "h.png", "i.png", "j.gif.png", "j.png.png"]
    made = [path.name for path, _ in planned(pairs[:2], monkeypatch, samples=2, ending=".tif")]
    assert made == ["a-1.tif", "a-2.tif", "b-1.tif", "b-2.tif"]
    assert (
        saving.plan(
            [(Path("a.jpg"), PurePath("a.jpg")), (Path("./a.jpg").absolute(), PurePath("a.jpg"))], Path()
        )[1:]
        == []
    )


@pytest.mark.parametrize("ending", sorted(saving.endings()))
def test_each_format_keeps_the_picture(ending, tmp_path):
    y, x = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 50), indexing="ij")
    rgb = torch.stack([x, y, 1 - x]) * 0.6 + 0.2
    path = tmp_path / f"a{ending}"
    assert saving.save(rgb, path, note="some model") == []
    with Image.open(path) as image:
        assert image.mode == "RGB" and image.format == saving.endings()[ending]
        error = abs(np.asarray(image) / 255.0 - rgb.permute(1, 2, 0).numpy())
        assert error.mean() < 0.01
        if image.format in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF"):
            assert len(image.info["icc_profile"]) < 1000
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(profile)
            assert image.getexif()[0x0131] == "some model"
    first = path.read_bytes()
    saving.save(rgb, path, note="some model")
    assert path.read_bytes() == first  # nothing in it depends on the time


def described(path, ending):
    """A gray picture lying on its side, whose file says much about it."""
    tags = ImageFileDirectory_v2()
    # Pillow itself turns letters into question marks as it saves or opens an AVIF file that is turned.
    words = "Grüße aus Köln" if ending != ".avif" else "Greetings"
    for tag, value in {0x010E: words.encode(), 0x013B: b"Photographer"}.items():
        tags.tagtype[tag] = 2
        tags[tag] = value
    tags[0x010F], tags[0x0110], tags[0x0112], tags[0x0131] = "Maker", "Model 1", 6, "Firmware 1.0"
    tags[0x011A], tags[0x011B], tags[0x0128], tags[0x0132] = 300, 150, 2, "2001:02:03 04:05:06"
    tags[0x9C9B] = "Titel".encode("utf-16le")
    tags[SHOT] = {
        0x829A: 0.004, 0x9003: "1931:02:03 04:05:06", 0x9204: -0.5,
        0x9286: b"ASCII\0\0\0hello", 0x927C: b"own" * 30,
        0xA001: 65535, 0xA002: 40, 0xA003: 30, 0xA405: 50, 0xA434: "A lens",
    }  # fmt: skip
    tags[0x8825] = {1: "N", 2: (48.0, 8.0, 12.5), 3: "E", 4: (11.0, 34.0, 0.0)}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8))
    block = b"Exif\0\0II*\0\x08\0\0\0" + tags.tobytes(8)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" dc:title="old"/></x:xmpmeta>'
    how = {"tiffinfo": tags} if ending == ".tif" else {"exif": block, "xmp": xmp}
    if ending == ".jpg":
        segment = b"http://ns.adobe.com/xap/1.0/\0" + how.pop("xmp")
        how |= {"comment": "a comment", "extra": b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment}
    if ending == ".png":
        info = how["pnginfo"] = PngInfo()
        info.add_text("Genre", "portrait")
        how.pop("xmp")
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    image.save(path, **how)
    return path, words


@pytest.mark.parametrize("after", TELLING)
@pytest.mark.parametrize("before", TELLING)
def test_what_a_file_says_is_kept(before, after, tmp_path):
    source, words = described(tmp_path / f"a{before}", before)
    with open_picture(source) as image:
        about = read_metadata(image)
        upright = torch.from_numpy(np.array(to_srgb(image))).permute(2, 0, 1) / 255
    path = tmp_path / f"b{after}"
    assert saving.save(upright, path, about, "made by us") == []
    with Image.open(path) as image:
        assert image.size == (30, 40)
        exif = image.getexif()
        assert exif.get(0x0112, 1) == 1  # as it lies in the file, it is upright
        assert exif[0x010E].encode("latin-1").decode() == words
        assert (exif[0x010F], exif[0x0110], exif[0x0132]) == ("Maker", "Model 1", "2001:02:03 04:05:06")
        assert exif[0x013B] == "Photographer" and exif[0x0131] == "Firmware 1.0; made by us"
        assert exif[0x9C9B] == "Titel".encode("utf-16le")
        assert (exif[0x011A], exif[0x011B], exif[0x0128]) == (150, 300, 2)  # turned with the picture
        shot, place = exif.get_ifd(SHOT), exif.get_ifd(0x8825)
        assert shot[0x9003] == "1931:02:03 04:05:06" and shot[0x9286] == b"ASCII\0\0\0hello"
        assert (shot[0xA405], shot[0xA434], shot[0x927C]) == (50, "A lens", b"own" * 30)
        assert (float(shot[0x829A]), float(shot[0x9204])) == pytest.approx((0.004, -0.5))
        assert (shot[0xA001], shot[0xA002], shot[0xA003]) == (1, 30, 40)  # sRGB, and its own size
        assert place[1] == "N" and [float(x) for x in place[2]] == [48, 8, 12.5]
        if after in (".jpg", ".png", ".tif"):
            assert [round(float(x)) for x in image.info["dpi"]] == [150, 300]
        again = read_metadata(image)
        if before != ".tif":
            assert b'tiff:Orientation="1"' in again.xmp and b'dc:title="old"' in again.xmp
        said = f"{again.texts} {again.comment} {exif.get(0x9C9C, b'').decode('utf-16le')}"
        assert {".jpg": "a comment", ".png": "portrait"}.get(before, "") in said
    assert about.broken == again.broken == ()


def test_iptc_captions_are_kept(tmp_path):
    caption = b"\x1c\x02\x78\x00\x05hallo"
    for first, then in ((".jpg", ".tif"), (".tif", ".jpg"), (".jpg", ".jpg")):
        path = tmp_path / f"a{first}"
        assert saving.save(GRAY, path, Metadata({}, iptc=caption)) == []
        with Image.open(path) as image:
            about = read_metadata(image)
        assert saving.save(GRAY, tmp_path / f"b{then}", about) == []
        with Image.open(tmp_path / f"b{then}") as image:
            assert IptcImagePlugin.getiptcinfo(image)[2, 120] == b"hallo"
    assert saving.save(GRAY, tmp_path / "b.webp", about) == ["IPTC"]


@pytest.mark.parametrize("ending", [".tif", ".jpg"])
def test_how_a_tiff_stores_its_pixels_is_not_copied(ending, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    source = tmp_path / "a.tif"
    pixels = np.linspace(0, 65535, 40 * 32).reshape(40, 32).astype(np.uint16)
    tifffile.imwrite(
        source, pixels, tile=(16, 16), photometric="miniswhite", compression="zlib", predictor=True,
        description="old", metadata=None,
        extratags=[(34377, 7, 3, b"8BI", True), (65000, 3, 1, 7, True), (320, 3, 6, [1] * 6, True)],
    )  # fmt: skip
    with open_picture(source) as image:
        about = read_metadata(image)
        rgb = torch.from_numpy(np.array(to_srgb(image))).permute(2, 0, 1) / 255
    assert saving.save(rgb, tmp_path / f"b{ending}", about) == []
    with Image.open(tmp_path / f"b{ending}") as image:
        assert image.getexif()[0x010E] == "old"
        assert not {34377, 65000, 320, 322, 324, 317} & set(image.getexif())
        assert abs(np.asarray(image) / 255 - rgb.permute(1, 2, 0).numpy()).max() < 0.05


def test_a_thumbnail_would_show_the_gray_picture(tmp_path):
    small = io.BytesIO()
    Image.new("L", (8, 8)).save(small, "JPEG")
    # A first directory with the maker alone, and a second one with the thumbnail behind it.
    second = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, 64, 0x0202, 4, 1, len(small.getvalue()))
    block = b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x010F, 2, 4, b"abc", 26) + second
    block = block.ljust(64, b"\0") + small.getvalue()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><xmp:Thumbnails><r>\n/9j</r></xmp:Thumbnails></x:xmpmeta>'
    Image.new("L", (20, 10)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block, xmp=xmp)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)[0x0202] == len(small.getvalue())
        about = read_metadata(image)
    saving.save(GRAY, tmp_path / "b.jpg", about)
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif()[0x010F] == "abc" and not image.getexif().get_ifd(ExifTags.IFD.IFD1)
        assert (
            b"Thumbnails" not in read_metadata(image).xmp
            and small.getvalue() not in (tmp_path / "b.jpg").read_bytes()
        )


@pytest.mark.parametrize("ending", TELLING)
def test_odd_metadata_never_costs_the_picture(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    tags = {0: {0x010F: "Maker"}, SHOT: {0x9003: "1931:01:01 00:00:00", 0x927C: b"x" * 200_000}}
    about = Metadata(tags, {"a": "b" * 70_000}, "c" * 70_000, b"d" * 70_000, b"\x1c" + b"e" * 70_000)
    lost = saving.save(GRAY, path, about)
    with Image.open(path) as image:
        assert image.size == (24, 16) and image.getexif()[0x010F] == "Maker"
        assert image.getexif().get_ifd(SHOT)[0x9003] == "1931:01:01 00:00:00"
    if ending == ".jpg":
        assert set(lost) == {"comment", "long entries of its EXIF", "XMP", "IPTC"}
    for block in (b"", b"garbage" * 5, b"II*\0\x08\0\0\0\xff\xff" + b"\x07" * 50):
        damaged = tmp_path / "damaged.jpg"
        Image.new("L", (24, 16)).save(damaged, exif=b"Exif\0\0" + block)
        with open_picture(damaged) as image:
            about = read_metadata(image)
        assert bool(about.broken) == bool(block)
        saving.save(GRAY, path, about)
        Image.open(path).load()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process that is killed is a fork of this one")
@pytest.mark.parametrize("killed_at", ["fsync", "replace"])
def test_a_kill_leaves_no_part_of_a_file(killed_at, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"the one before")
    child = os.fork()
    if not child:
        setattr(os, killed_at, lambda *arguments: os._exit(9))
        saving.save(GRAY, path)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = [other for other in tmp_path.iterdir() if other != path]
    assert path.read_bytes() == b"the one before" and len(left) == 1
    assert listing(tmp_path) == ([path.name], [])  # what is left is no picture
    saving.remove_leftovers(tmp_path)
    assert left[0].exists()  # another process may be writing it
    os.utime(left[0], (0, 0))
    saving.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "new" / "a.png"
    with pytest.raises(OSError) as error:
        saving.save(GRAY, path)
    assert str(error.value) == f"{path} can't be written: No space left on device"
    assert list(path.parent.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(OSError, match="a.webp can't be written: "):
        saving.save(GRAY[:, :1, :1].expand(3, 2, 20_000), tmp_path / "a.webp")  # more than the format allows
