"""A folder of pictures as training data."""

import pickle
import warnings
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from colorlib.data import Folder


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
    with pytest.warns(UserWarning, match="broken.jpg"), pytest.raises(ValueError, match="none of the 1"):
        Folder(tmp_path / "empty").batch([0])
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        Folder(pictures, size=0)
