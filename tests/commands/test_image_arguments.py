"""What the words of a command line mean, and the images that are read of them."""

import io
import os
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from condconv_keras.commands.image_arguments import image_arguments
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import save_image


@pytest.fixture
def photos(tmp_path):
    """A folder, and the pixels of its images by name."""
    names = ("a.png", "b.PNG", "deeper/c.png", "d [1].png")
    return tmp_path, {name: save_image(tmp_path / name, seed=i) for i, name in enumerate(names)}


def test_files_folders_and_patterns(photos):
    folder, pixels = photos
    (folder / "notes.txt").write_text("mine")
    for words, names in (
        (["a.png", "deeper"], ["a.png", "c.png"]),
        ([""], ["a.png", "b.PNG", "d [1].png", "c.png"]),
        (["?.[pP]*"], ["a.png", "b.PNG"]),
        (["**/*.png"], ["a.png", "d [1].png", "c.png"]),
        (["deeper/**"], ["c.png"]),
        (["d [1].png"], ["d [1].png"]),
    ):
        images, ignored = image_arguments([str(folder / word) for word in words])
        assert sorted(image.name for image in images) == sorted(names)
        assert ignored == ({".txt": 1} if words == [""] else {})
        for image in images:
            expected = pixels["deeper/c.png" if image.name == "c.png" else image.name]
            np.testing.assert_array_equal(image.read(True), expected)
    assert (image.stem, str(image)) == ("d [1]", str(folder / "d [1].png"))


def test_a_pattern_in_a_folder_whose_name_looks_like_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "trip [2024]*" / "1.png")
    save_image(tmp_path / "trip 2" / "2.png")
    for start in ("", "./", str(tmp_path) + "/"):
        images, _ = image_arguments([f"{start}trip [2024]*/*.png"])
        assert [image.name for image in images] == ["1.png"]
    assert [image.name for image in image_arguments(["trip*/*.png"])[0]] == ["2.png", "1.png"]


@pytest.mark.parametrize(
    ("word", "message"),
    [("*.gif", r"expected files that match '.*\.gif', there are none"), ("x.png", "nothing lies at")],
)
def test_what_is_not_there_is_one_line(photos, word, message):
    with pytest.raises(UserError, match=message):
        image_arguments([str(photos[0] / word)])


def test_the_home_folder(photos, monkeypatch):
    folder, pixels = photos
    monkeypatch.setenv("HOME", str(folder))
    for word in ("~/a.png", "~/a.*"):
        ((image,), _) = image_arguments([word])
        np.testing.assert_array_equal(image.read(True), pixels["a.png"])


def test_standard_input(photos, monkeypatch):
    folder, pixels = photos
    ((image,), _) = image_arguments(["-"])
    assert (str(image), image.stem) == ("-", "stdin")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "a.png").read_bytes())))
    np.testing.assert_array_equal(image.read(True), pixels["a.png"])
    # It is read to its end.
    with pytest.raises(UserError, match="expected an image, 'standard input' is none"):
        image.read(True)


def test_a_named_pipe(photos):
    folder, pixels = photos
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes((folder / "a.png").read_bytes()), daemon=True).start()
    ((image,), _) = image_arguments([str(pipe)])
    np.testing.assert_array_equal(image.read(True), pixels["a.png"])


def test_addresses(photos, monkeypatch):
    folder, pixels = photos
    address = "https://example.org/pets/my%20cat.png?size=large"
    module = "condconv_keras.commands.image_arguments.download"
    monkeypatch.setattr(module, lambda received: {address: (folder / "a.png").read_bytes()}[received])
    ((image,), _) = image_arguments([address])
    assert (str(image), image.name, image.stem) == (address, "my cat.png", "my cat")
    np.testing.assert_array_equal(image.read(True), pixels["a.png"])
    monkeypatch.setattr(module, lambda received: b"<html>")
    with pytest.raises(UserError, match=r"expected an image, 'https://example.org/.*' is none"):
        image.read(True)


def test_the_orientation_is_passed_on(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    ((image,), _) = image_arguments([str(tmp_path / "a.png")])
    np.testing.assert_array_equal(image.read(False), pixels)
    np.testing.assert_array_equal(image.read(True), np.rot90(pixels, -1))
