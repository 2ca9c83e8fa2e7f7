import numpy as np
import pytest
from absl import logging
from PIL import Image

from condconv_keras.data.sources.image_checks import check_images
from condconv_keras.data.sources.same_bytes import count_repeated, same_contents


@pytest.fixture
def files(tmp_path):
    """A function that writes images of these gray values and bytes behind them, and returns paths and contents."""

    def write(side, *images):
        (tmp_path / side).mkdir()
        paths = [str(tmp_path / side / f"{i}.png") for i in range(len(images))]
        for path, (gray, end) in zip(paths, images, strict=True):
            Image.fromarray(np.full((4, 4, 3), gray, np.uint8)).save(path)
            with open(path, "ab") as file:
                file.write(end)
        return paths, check_images(tmp_path / side, paths, False, True).contents

    return write


LONG = bytes(range(256)) * 40


def test_files_of_the_same_bytes(files):
    # The same size with another end, with another begin, and the same.
    _, others = files("others", (1, LONG[:-1] + b"x"), (2, LONG), (1, LONG), (3, b""), (1, LONG))
    _, contents = files("contents", (1, LONG), (4, b""), (3, b""), (1, LONG[:-2] + b"ab"))
    assert same_contents(contents, others) == {0: 2, 2: 3}
    assert same_contents(others, contents) == {2: 0, 4: 0, 3: 2}
    assert same_contents(contents, []) == same_contents([], others) == {}


def test_images_on_both_sides_are_counted_and_said(files, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    images = {
        "train": files("train", (1, LONG), (2, b""), (3, b"")),
        "val": files("val", (2, b""), (4, b""), (1, LONG)),
        "test": files("test", (5, b"")),
    }
    assert count_repeated(images) == {"val": 2}
    (line,) = said
    assert "2 of 3 images of val have the same bytes as an image of train" in line
    assert f"such as {images['val'][0][0]} and {images['train'][0][1]}: " in line
    assert count_repeated({"val": images["val"], "test": images["test"]}) == {}
