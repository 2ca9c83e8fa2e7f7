import pytest
from absl import logging

from condconv_keras.data.sources.same_bytes import count_repeated, same_bytes


@pytest.fixture
def files(tmp_path):
    """A function that writes files of these contents and returns their paths."""

    def write(side, *contents):
        (tmp_path / side).mkdir()
        paths = [tmp_path / side / f"{i}.jpg" for i in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return list(map(str, paths))

    return write


LONG = bytes(range(256)) * 40


def test_files_of_the_same_bytes(files):
    # The same size with another end, with another begin, and the same.
    others = files("others", LONG[:-1] + b"x", b"x" + LONG[1:], LONG, b"", LONG)
    paths = files("paths", LONG, b"alone", b"", LONG[:-2] + b"ab")
    assert same_bytes(paths, others) == {paths[0]: others[2], paths[2]: others[3]}
    assert same_bytes(others, paths) == {others[2]: paths[0], others[4]: paths[0], others[3]: paths[2]}
    assert same_bytes(paths, []) == same_bytes([], others) == {}


def test_images_on_both_sides_are_counted_and_said(files, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    paths = {
        "train": files("train", LONG, b"1", b"2"),
        "val": files("val", b"1", b"3", LONG),
        "test": files("test", b"4"),
    }
    assert count_repeated(paths) == {"val": 2}
    (line,) = said
    assert "2 of 3 images of val have the same bytes as an image of train" in line
    assert paths["val"][0] in line or paths["val"][2] in line
    assert count_repeated({"val": paths["val"], "test": paths["test"]}) == {}
