"""A folder of pictures as training data."""

import hashlib
import io
import os
import pickle
import threading
import tracemalloc
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from processes import run

from colorlib.data import Folder
from colorlib.data.archive import Archive


def paint(color, size=(24, 16), mode="RGB"):
    return Image.new(mode, size, color)


@pytest.fixture
def pictures(tmp_path):
    """Eight noisy pictures in two folders, and things that are no pictures."""
    root = tmp_path / "pictures"
    chance = np.random.default_rng(0)
    for k in range(8):
        path = root / ("a" if k % 2 else "b/c") / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (20 + k, 30, 3), dtype=np.uint8)).save(path)
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_text("no picture")
    return root


def zipped(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in reversed(sorted(folder.rglob("*"))):
            archive.write(file, file.relative_to(folder))
    return path


def test_it_finds_the_pictures_of_a_folder_and_of_a_zip_file_alike(pictures, tmp_path):
    folder = Folder(pictures, size=12)
    assert folder.names == ("a/1.png", "a/3.png", "a/5.png", "a/7.png") + tuple(
        f"b/c/{k}.png" for k in (0, 2, 4, 6)
    )
    assert len(folder) == 8
    rgb = folder.batch(range(8))["rgb"]
    assert rgb.shape == (8, 3, 12, 12) and rgb.dtype == torch.float32
    assert rgb.min() >= 0 and 0.9 < rgb.max() <= 1
    packed = Folder(zipped(pictures, tmp_path / "pictures.zip"), size=12)
    assert packed.names == folder.names
    assert torch.equal(packed.batch(range(8))["rgb"], rgb)
    assert torch.equal(pickle.loads(pickle.dumps(packed)).batch(range(8))["rgb"], rgb)


@pytest.mark.slow
@pytest.mark.parametrize("start, workers", [("fork", (1, 2, 3, 0)), ("spawn", (1,)), ("forkserver", (1,))])
def test_data_loaders_workers_give_what_the_parent_gives(tmp_path, start, workers):
    if start not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"{start} is not for this system")
    chance, pictures = np.random.default_rng(0), tmp_path / "pictures"
    pictures.mkdir()
    for k in range(16):  # so large that a zip file shared by processes is read in many pieces
        Image.fromarray(chance.integers(0, 256, (120, 120, 3), dtype=np.uint8)).save(pictures / f"{k:02}.png")
    script = """
    import sys, torch
    from torch.utils.data import ConcatDataset, DataLoader
    from colorlib.data import Folder

    root, packed, start, *workers = sys.argv[1:]
    wanted = Folder(root, size=12).batch(range(16))["rgb"]
    folders = [Folder(root, size=12), Folder(packed, size=12), Folder(packed, size=12)]
    for count in map(int, workers):
        for folder in folders:  # used before the fork: threads have begun, zip files are open
            assert torch.equal(folder.batch(range(16))["rgb"], wanted)
        context = {"multiprocessing_context": start} if count else {}
        loader = DataLoader(ConcatDataset(2 * folders), batch_size=3, num_workers=count, **context)
        got = torch.cat([batch["rgb"] for batch in loader])
        assert torch.equal(got, wanted.repeat(6, 1, 1, 1)), count
    """
    run(script, pictures, zipped(pictures, tmp_path / "pictures.zip"), start, *workers)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_in_the_midst_of_another_threads_reading(pictures, tmp_path):
    script = """
    import os, sys, threading, zipfile
    import torch
    from colorlib.data import Folder

    wanted = Folder(sys.argv[1], size=12).batch(range(8))["rgb"]
    torch.set_num_threads(1)  # a child of this one has none of torch's threads
    folder = Folder(sys.argv[2], size=12)
    inside, go, really = threading.Event(), threading.Event(), zipfile.ZipFile.open

    def slowly(*arguments, **named):
        inside.set()
        go.wait()
        return really(*arguments, **named)

    zipfile.ZipFile.open = slowly
    thread = threading.Thread(target=folder.batch, args=(range(8),))
    thread.start()
    inside.wait()
    zipfile.ZipFile.open = really
    child = os.fork()
    if not child:
        os._exit(0 if torch.equal(folder.batch(range(8))["rgb"], wanted) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    thread.join()
    assert torch.equal(folder.batch(range(8))["rgb"], wanted)
    """
    run(script, pictures, zipped(pictures, tmp_path / "pictures.zip"))


def test_many_threads_may_share_it(pictures, tmp_path):
    wanted = Folder(pictures, size=12).batch(range(8))["rgb"]
    packed = zipped(pictures, tmp_path / "pictures.zip")
    folders = [Folder(packed, size=12), Folder(packed, size=12), Folder(pictures, size=12)]
    begin = threading.Barrier(12)

    def ask(number):
        begin.wait()  # all at once, the first time they are used
        order = [(number + k) % 8 for k in range(8)]
        return torch.equal(folders[number % 3].batch(order)["rgb"], wanted[order])

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(12)))


def test_an_index_gives_the_same_picture_in_any_batch(pictures):
    folder = Folder(pictures, size=12)
    rgb = folder.batch(range(8))["rgb"]
    for index in (5, 0):
        assert torch.equal(folder[index]["rgb"], rgb[index])
    assert torch.equal(Folder(pictures, size=12).batch(torch.tensor([3, 3, 1]))["rgb"], rgb[[3, 3, 1]])


def test_a_square_comes_from_the_middle_pixel_for_pixel(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (10, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    got = Folder(tmp_path, size=10)[0]["rgb"]
    wanted = torch.from_numpy(pixels[:, 3:13]).permute(2, 0, 1) / 255
    torch.testing.assert_close(got, wanted)


def test_a_photograph_is_turned_as_its_exif_entry_says(tmp_path):
    upright = Image.fromarray(np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[:, None], 16, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif, quality=95)
    got = Folder(tmp_path, size=16)[0]["rgb"][0]
    wanted = torch.from_numpy(np.array(upright)) / 255
    assert (got - wanted).abs().max() < 0.03


@pytest.mark.parametrize(
    ("name", "image", "wanted"),
    [
        ("gray.png", paint(51, mode="L"), (0.2, 0.2, 0.2)),
        ("alpha.png", paint((255, 0, 0, 51), mode="RGBA"), (1, 0.8, 0.8)),
        ("gray_alpha.png", paint((0, 51), mode="LA"), (0.8, 0.8, 0.8)),
        ("palette.gif", paint((0, 0, 255)).convert("P"), (0, 0, 1)),
        ("cmyk.tif", paint((255, 0, 0, 0), mode="CMYK"), (0, 1, 1)),
        ("sixteen.png", Image.fromarray(np.full((16, 24), 13107, np.uint16)), (0.2, 0.2, 0.2)),
        ("float.tif", Image.fromarray(np.full((16, 24), 0.2, np.float32)), (0.2, 0.2, 0.2)),
        ("one_bit.png", paint(1, mode="1"), (1, 1, 1)),
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, name, image, wanted):
    image.save(tmp_path / name)
    rgb = Folder(tmp_path, size=5)[0]["rgb"]
    assert rgb.shape == (3, 5, 5)
    torch.testing.assert_close(
        rgb, torch.tensor(wanted)[:, None, None].expand(3, 5, 5).float(), atol=0.01, rtol=0
    )


def test_damaged_files_are_named_once_and_replaced_by_what_the_index_alone_decides(pictures):
    whole = (pictures / "a" / "3.png").read_bytes()
    (pictures / "a" / "3.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "b" / "c" / "2.png").write_text("not a picture at all")
    folder = Folder(pictures, size=12)
    with pytest.warns(UserWarning) as caught:
        rgb = folder.batch(range(8))["rgb"]
    named = sorted(str(warning.message).split(" in ")[0] for warning in caught)
    assert named == ["a/3.png", "b/c/2.png"]
    sound = [0, 2, 3, 4, 6, 7]
    for index in (1, 5):
        assert any(torch.equal(rgb[index], rgb[other]) for other in sound)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(folder.batch([5, 1])["rgb"], rgb[[5, 1]])
    with pytest.warns(UserWarning):  # a new one, asked in another order, gives the same
        assert torch.equal(Folder(pictures, size=12).batch([1, 7, 5])["rgb"], rgb[[1, 7, 5]])


def test_pictures_without_color_are_left_out_where_asked(pictures):
    for k in range(6):
        paint(30 * k, mode="L").save(pictures / f"gray{k}.png")
    everything = Folder(pictures, size=12)
    colored = Folder(pictures, size=12, colorful=10.0)

    def spread(rgb):
        return (rgb.amax(1) - rgb.amin(1)).flatten(1).amax(1)

    assert (spread(everything.batch(range(14))["rgb"]) == 0).sum() == 6
    assert (spread(colored.batch(range(14))["rgb"]) > 0).all()


def test_errors_name_the_folder(tmp_path, pictures):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures in .*empty"):
        Folder(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"notes.txt is another file"):
        Folder(pictures / "notes.txt")
    with pytest.raises(IndexError, match="0 to 7; got 8"):
        Folder(pictures).batch([8])
    (tmp_path / "empty" / "broken.jpg").write_text("x")
    with pytest.raises(ValueError, match="none of the 1 pictures can be read: broken.jpg in .*empty"):
        Folder(tmp_path / "empty").batch([0])
    with pytest.raises(ValueError, match="size must .* 1.*; got 0"):
        Folder(pictures, size=0)


@pytest.mark.parametrize(
    "path, message",
    [
        ("", "must name a folder or a zip file; got an empty text"),
        (["", "."], "must name a folder or a zip file; got an empty text"),
        ([], "must name a folder or a zip file; got none"),
        (5, "must be a str, a Path or a sequence of them; got 5"),
        ([5], "must be a str, a Path or a sequence of them; got 5"),
        (b".", "must be a str, a Path or a sequence of them; got b'.'"),
    ],
)
def test_what_is_no_path_is_refused(path, message):
    with pytest.raises((TypeError, ValueError), match=f"path {message}"):
        Folder(path)


@pytest.mark.parametrize(
    "indices",
    [[0.7], [True], ["1"], "1", b"1", 1, [None], [[1]], torch.tensor([0.7]), torch.tensor([True])]
    + [torch.tensor(1), torch.tensor([[1]]), np.array([1.0]), np.array([True]), [np.float64(1)]],
    ids=repr,
)
def test_indices_are_whole_numbers(pictures, indices):
    with pytest.raises(TypeError, match="whole number|indices must be a sequence"):
        Folder(pictures, size=12).batch(indices)


@pytest.mark.parametrize(
    "indices",
    [(1, 2), range(1, 3), iter([1, 2]), np.array([1, 2], np.uint8), [np.int64(1), np.int8(2)]]
    + [torch.tensor([1, 2], dtype=torch.uint8), [torch.tensor(1), torch.tensor(2)]],
    ids=lambda indices: repr(indices).split(" object")[0],  # without an address: workers agree on names
)
def test_whole_numbers_of_all_kinds_are_indices(pictures, indices):
    folder = Folder(pictures, size=12)
    assert torch.equal(folder.batch(indices)["rgb"], folder.batch([1, 2])["rgb"])
    assert torch.equal(folder[np.int64(1)]["rgb"], folder[1]["rgb"])
    for wrong in (-1, np.int64(8), torch.tensor(-1)):
        with pytest.raises(IndexError, match=f"0 to 7; got {int(wrong)}"):
            folder.batch([wrong])
        with pytest.raises(IndexError, match=f"0 to 7; got {int(wrong)}"):
            folder[wrong]


# What the data are.


def test_the_same_pictures_elsewhere_are_the_same_data_and_others_are_not(pictures, tmp_path):
    own = Folder(pictures, size=12)
    elsewhere = tmp_path / "another disk" / "pictures"
    elsewhere.mkdir(parents=True)
    for path in sorted(pictures.rglob("*.png"), reverse=True):
        target = elsewhere / path.relative_to(pictures)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())  # in another order, at another time
    assert repr(Folder(elsewhere, size=12)) == repr(own)
    assert repr(pickle.loads(pickle.dumps(own))) == repr(own)
    (elsewhere / "notes.txt").write_text("other notes")
    assert Folder(elsewhere, size=12).identity == own.identity
    assert Folder(elsewhere, size=13).identity == own.identity != repr(own)

    (elsewhere / "a" / "1.png").write_bytes((elsewhere / "b" / "c" / "6.png").read_bytes())
    changed = Folder(elsewhere, size=12)
    assert len(changed) == len(own) and changed.identity != own.identity
    assert repr(changed) != repr(own)
    (elsewhere / "a" / "1.png").write_bytes((pictures / "a" / "1.png").read_bytes())
    assert Folder(elsewhere, size=12).identity == own.identity
    (elsewhere / "a" / "1.png").rename(elsewhere / "a" / "2.png")
    assert Folder(elsewhere, size=12).identity != own.identity
    # In a zip file a change shows that leaves the size as it was.
    packed = Folder(zipped(pictures, tmp_path / "pictures.zip"))
    assert Folder(zipped(pictures, tmp_path / "again.zip")).identity == packed.identity
    content = bytearray((pictures / "a" / "1.png").read_bytes())
    content[-20] ^= 1
    (pictures / "a" / "1.png").write_bytes(content)
    assert Folder(zipped(pictures, tmp_path / "changed.zip")).identity != packed.identity
    assert Folder([pictures, elsewhere]).identity != Folder([elsewhere, pictures]).identity


def test_results_of_runs_are_no_data(pictures, tmp_path):
    plain = Folder(pictures, size=12)
    chart = (pictures / "a" / "1.png").read_bytes()
    for folder, mark in (("runs/x", "metrics.jsonl"), ("b/old run", "checkpoint-00000004.safetensors")):
        for place in (folder, folder + "/colored"):
            (pictures / place).mkdir(parents=True)
            (pictures / place / "learning_curve.png").write_bytes(chart)
        (pictures / folder / mark).write_text("")
    (pictures / "out").mkdir()
    (pictures / "out" / "a.png").write_bytes(chart)
    folder = Folder(pictures, size=12, without=[pictures / "b" / ".." / "out", tmp_path / "elsewhere"])
    assert folder.names == plain.names and folder.others == ("notes.txt",) and repr(folder) == repr(plain)
    assert sorted(folder.results) == [pictures / name for name in ("b/old run", "out", "runs/x")]
    # A folder that is asked for is data, but for a run's curve.
    assert Folder(pictures / "out", without=[pictures / "out"]).names == ("a.png",)
    for name in ("metrics.jsonl", "learning_curve.png"):
        (pictures / name).write_bytes(chart)
    assert Folder(pictures, without=[pictures / "out"]).names == plain.names
    with pytest.raises(ValueError, match="no pictures in .*x but those in .*colored.*to use them"):
        (pictures / "runs" / "x" / "learning_curve.png").unlink()
        Folder(pictures / "runs" / "x", without=[pictures / "runs" / "x" / "colored"])


def test_a_folder_that_is_gone_is_no_fault_of_its_pictures(pictures, tmp_path):
    packed = zipped(pictures, tmp_path / "pictures.zip")
    folder, archive = Folder(pictures, size=12), pickle.dumps(Folder(packed, size=12))
    wanted = folder.batch(range(8))["rgb"]
    away = pictures.rename(tmp_path / "away")
    packed.rename(tmp_path / "away.zip")
    archive = pickle.loads(archive)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for gone, path in ((folder, pictures), (archive, packed)):
            with pytest.raises(OSError, match=f"{path} can't be read any more: No such file"):
                gone.batch(range(8))
        pictures.mkdir()  # a drive's mount point without the drive
        with pytest.raises(OSError, match=f"{pictures} can't be read any more: it is empty"):
            folder.batch([0])
        pictures.rmdir()
        away.rename(pictures)
        (tmp_path / "away.zip").rename(packed)
        assert torch.equal(folder.batch(range(8))["rgb"], wanted)
        assert torch.equal(archive.batch(range(8))["rgb"], wanted)
    (pictures / "a" / "3.png").unlink()
    with pytest.warns(UserWarning) as caught:
        rgb = folder.batch(range(8))["rgb"]
    assert [str(warning.message) for warning in caught] == [
        f"no picture at a/3.png in {pictures}; it is left out"
    ]
    assert caught[0].filename == __file__  # the line that asked
    sound = [0, 2, 3, 4, 5, 6, 7]
    assert torch.equal(rgb[sound], wanted[sound]) and folder.unfit == {1}


def test_where_none_can_be_read_one_sentence_says_so(pictures):
    for path in pictures.rglob("*.png"):
        path.write_text("no picture")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ValueError, match=r"none of the 8 pictures can be read: \w/.*\.png in .*pictures can't"
        ):
            Folder(pictures).batch(range(8))


# Zip files.


def test_a_zip_file_that_is_none_is_told_from_one_that_is_damaged_or_cut_short(pictures, tmp_path):
    whole = zipped(pictures, tmp_path / "whole.zip").read_bytes()
    start = whole.index(b"PK\1\2")  # of the list of contents
    version = start + 6  # the one needed to unpack the first file
    cases = {
        "cut.zip": (whole[: start + 10], "cut.zip is a damaged zip file: it was cut short"),
        "half.zip": (whole[: len(whole) // 2], "half.zip is a damaged zip file: it was cut short"),
        "list.zip": (whole[:start] + b"XX" + whole[start + 2 :], "list.zip is a damaged zip file: "),
        "inner.zip": (whole[100:-30] + whole[-22:], "inner.zip is a damaged zip file: "),
        "new.zip": (
            whole[:version] + b"\xff" + whole[version + 1 :],
            "new.zip is a zip file of a kind that Python doesn't read: ",
        ),
        "other.zip": (
            b"\x89PNG and so on" * 9,
            "path must be a folder or a zip file; .*other.zip is another file",
        ),
        "empty.zip": (b"", "path must be a folder or a zip file; .*empty.zip is another file"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            Folder(tmp_path / name)
        assert str(caught.value).count(name) == 1
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.zip")
        with pytest.raises(ValueError, match="path must be a folder or a zip file; .*pipe.zip is another"):
            Folder(tmp_path / "pipe.zip")


def test_names_in_a_zip_file_that_windows_made_or_that_are_there_twice(pictures, tmp_path):
    first, second = ((pictures / name).read_bytes() for name in ("a/1.png", "a/3.png"))
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        for name in ("dir/", "dir.png/", "back\\slash\\", "__MACOSX\\dir\\._a.png", "dir/notes.txt"):
            archive.writestr(name, b"")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the name that is there twice
            for content in (second, first):
                archive.writestr("dir/a.png", content)
        archive.writestr("back\\slash\\b.PNG", second)
    folder = Folder(tmp_path / "odd.zip", size=12)
    assert folder.names == ("back/slash/b.PNG", "dir/a.png") and folder.others == ("dir/notes.txt",)
    wanted = Folder(pictures, size=12).batch([1, 0])["rgb"]
    assert torch.equal(folder.batch([0, 1])["rgb"], wanted)  # of the two the last, as after unpacking


def test_entries_that_are_encrypted_packed_strangely_damaged_or_huge_are_left_out(
    pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr("colorlib.data.archive.LIMIT", 5000)
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        for kind in kinds:
            archive.write(pictures / "a" / "1.png", f"sound{kind}.png", kind)
        for name in ("damaged", "encrypted", "strange"):
            archive.write(pictures / "a" / "3.png", f"{name}.png")
        archive.writestr("huge.png", bytes(5001))
    content = bytearray((tmp_path / "odd.zip").read_bytes())
    content[content.index(b"damaged.png") + 100] ^= 1
    for name, place, value in (("encrypted", 8, 1), ("strange", 10, 77)):  # flags and method
        content[content.rindex(f"{name}.png".encode()) - 46 + place] = value
        content[content.index(f"{name}.png".encode()) - 30 + place - 2] = value
    (tmp_path / "odd.zip").write_bytes(content)
    folder = Folder(tmp_path / "odd.zip", size=12)
    with pytest.warns(UserWarning) as caught:
        rgb = folder.batch(range(len(folder)))["rgb"]
    left_out = {str(warning.message).split(" in ")[0]: str(warning.message) for warning in caught}
    assert (
        sorted(left_out) == ["damaged.png", "encrypted.png", "huge.png", "strange.png"] and len(caught) == 4
    )
    assert all("odd.zip can't be read: " in message for message in left_out.values())
    assert "can't be read: it is damaged;" in left_out["damaged.png"]
    assert "it is encrypted;" in left_out["encrypted.png"] and "when unpacked, more" in left_out["huge.png"]
    # The sound ones are alike, and stand in for the others.
    assert torch.equal(rgb, Folder(pictures, size=12).batch([0] * len(folder))["rgb"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, size, most",  # in MiB; bzip2 gives 45 at once
    [(zipfile.ZIP_STORED, 32, 16), (zipfile.ZIP_DEFLATED, 32, 16), (zipfile.ZIP_LZMA, 32, 16)]
    + [(zipfile.ZIP_BZIP2, 192, 128)],
)
def test_an_entry_that_states_a_false_size_takes_little_memory(tmp_path, kind, size, most):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", kind) as made, made.open("a.png", "w") as file:
        for _ in range(size):
            file.write(bytes(2**20))
    archive = Archive(tmp_path / "a.zip")
    archive.files["a.png"].file_size = 1000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="it is damaged"):
            archive.read("a.png", archive.stamp("a.png"))
        assert tracemalloc.get_traced_memory()[1] < most * 2**20
    finally:
        tracemalloc.stop()


def test_a_zip_file_that_is_another_one_meanwhile_gives_no_other_pictures(pictures, tmp_path):
    path = zipped(pictures, tmp_path / "pictures.zip")
    wanted = Folder(path, size=12).batch(range(8))["rgb"]
    sent = pickle.dumps(Folder(path, size=12))
    (pictures / "a" / "1.png").write_bytes((pictures / "b" / "c" / "6.png").read_bytes())
    (pictures / "a" / "3.png").unlink()
    zipped(pictures, path)
    with pytest.warns(UserWarning) as caught:
        rgb = pickle.loads(sent).batch(range(8))["rgb"]
    assert sorted(str(warning.message) for warning in caught) == [
        f"a/{k}.png in {path} can't be read: it was changed meanwhile; it is left out" for k in (1, 3)
    ]
    assert torch.equal(rgb[2:], wanted[2:])


def test_a_tenth_is_held_out_by_name_whatever_else_is_there(tmp_path):
    names = [f"{kind}/{k:03}.png" for kind in ("sea", "wood") for k in range(300)]
    small = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(small, "PNG")
    for count in (600, 150):
        with zipfile.ZipFile(tmp_path / f"{count}.zip", "w") as archive:
            for name in names[:count]:
                archive.writestr(name, small.getvalue())
    part = {
        (count, held): Folder(tmp_path / f"{count}.zip", 2, held_out=held)
        for count in (600, 150)
        for held in (None, True, False)
    }
    held, kept = set(part[600, True].names), set(part[600, False].names)
    assert not held & kept and held | kept == set(names) and 30 < len(held) < 90
    assert set(part[150, True].names) == held & set(names[:150])
    chosen = [
        n for n in names if int.from_bytes(hashlib.sha256(n.encode()).digest()[:4], "big") / 2**32 < 0.1
    ]
    assert held == set(chosen)
    assert len({folder.identity for folder in part.values()}) == len(part)
    assert "held_out=True" in repr(part[600, True]) and "held_out" not in repr(part[600, None])
    few = [name for name in names if name not in held][:2]
    with zipfile.ZipFile(tmp_path / "few.zip", "w") as archive:
        for name in few:
            archive.writestr(name, small.getvalue())
    with pytest.raises(ValueError, match="no pictures among the tenth held out"):
        Folder(tmp_path / "few.zip", 2, held_out=True)
    with pytest.raises(TypeError, match="held_out must be"):
        Folder(tmp_path / "few.zip", 2, held_out="yes")
