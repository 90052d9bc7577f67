"""The bundled photographs: read from the package and never from the network."""

import socket

import pytest
import skimage.data
import torch

from colorlib.color import colorfulness
from colorlib.data import photos

COLOR = ["astronaut", "chelsea", "coffee", "rocket", "motorcycle", "hubble", "retina", "tissue"]
GRAY = ["camera", "coins", "moon", "clock", "brick", "grass", "gravel"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to connect or to look a host up fails the test."""

    def refuse(*arguments, **keywords):
        raise AssertionError("photos() went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_network_is_really_shut():
    with pytest.raises(AssertionError):
        socket.create_connection(("localhost", 9))


def test_all_come_in_a_fixed_order_as_color_pictures():
    pictures = photos()
    assert list(pictures) == COLOR
    for name, picture in pictures.items():
        assert picture.dtype == torch.float32 and picture.dim() == 3 and len(picture) == 3, name
        assert picture.min() >= 0 and 0.5 < picture.max() <= 1, name
        assert min(picture.shape[1:]) >= 300, name
        assert not torch.equal(picture[0], picture[1]), name
        assert colorfulness(picture).item() > 8, name


def test_the_black_and_white_ones_have_one_channel():
    pictures = photos(gray=True)
    assert list(pictures) == GRAY
    for name, picture in pictures.items():
        assert picture.dim() == 3 and len(picture) == 1, name
        assert picture.min() >= 0 and 0.5 < picture.max() <= 1, name


def test_names_select_and_order():
    assert list(photos("coffee")) == ["coffee"]
    assert list(photos(["retina", "chelsea"])) == ["retina", "chelsea"]
    assert list(photos(["moon"], gray=True)) == ["moon"]


def test_pixels_are_those_of_the_file(monkeypatch):
    monkeypatch.undo()
    picture = photos("chelsea")["chelsea"]
    assert torch.equal((picture * 255).round().byte().permute(1, 2, 0), torch.tensor(skimage.data.chelsea()))


def test_a_photograph_is_made_smaller_but_never_larger():
    picture = photos("coffee", max_side=120)["coffee"]
    assert picture.shape == (3, 80, 120)
    assert photos("coffee", max_side=5000)["coffee"].shape == (3, 400, 600)
    # Averaging keeps the mean color; picking every fifth pixel would keep the noise as well.
    full = photos("coffee")["coffee"]
    assert (picture.mean((1, 2)) - full.mean((1, 2))).abs().max() < 0.005
    texture, picked = (
        photos("gravel", gray=True, max_side=64)["gravel"],
        photos("gravel", gray=True)["gravel"],
    )
    assert texture.std() < 0.9 * picked[:, ::8, ::8].std()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"names": "lena"}, ValueError, "names must be one of astronaut, chelsea.*; got 'lena'"),
        (
            {"names": "coffee", "gray": True},
            ValueError,
            "names must be one of camera.*; got 'coffee'",
        ),
        ({"names": 3}, TypeError, "got 3"),
        ({"max_side": 0}, ValueError, "at least 1; got 0"),
        ({"max_side": 1.5}, TypeError, "got 1.5"),
    ],
)
def test_arguments_that_cannot_be(arguments, error, match):
    with pytest.raises(error, match=match):
        photos(**arguments)
