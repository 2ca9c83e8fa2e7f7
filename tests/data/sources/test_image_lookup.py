import os
import unicodedata

import pytest

from condconv_keras.data.sources.image_lookup import ImageLookup, comparable, similar_files
from condconv_keras.utils.errors import UserError


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _find(root, stem, name=None, folders=("",), owner="o"):
    found = ImageLookup().find([root / folder for folder in folders], owner, stem, name)
    return None if found is None else os.path.relpath(found, root)


def test_the_nearest_name_is_taken(tmp_path):
    _touch(tmp_path, "x.jpg", "x.JPG", "x.png", "X.jpg", "y.Jpg", "z.webp", "z.xml", "Z2.PNG", "b/x.png", "b/w.bmp")
    assert _find(tmp_path, "x", "x.jpg") == "x.jpg"
    assert _find(tmp_path, "x", "x.JPG") == "x.JPG"
    assert _find(tmp_path, "y", "y.jpg") == "y.Jpg"
    assert _find(tmp_path, "z", "z.jpg") == "z.webp"
    assert _find(tmp_path, "z") == "z.webp"
    assert _find(tmp_path, "z2", "z2.jpg") == "Z2.PNG"
    assert _find(tmp_path, "w", "w.jpg", ("", "none", "b")) == "b/w.bmp"
    assert _find(tmp_path, "none", "none.jpg") is None
    # The right ending in another folder is nearer than another ending in the first one.
    _touch(tmp_path, "c/z.jpg")
    assert _find(tmp_path, "z", "z.jpg", ("", "c")) == "c/z.jpg"


def test_several_files_may_be_meant(tmp_path):
    _touch(tmp_path, "x.jpg", "x.png", "Y.jpg", "y.png")
    with pytest.raises(UserError, match=r"expected one image for 'o' in '.*', received: x\.jpg, x\.png$"):
        _find(tmp_path, "x")
    with pytest.raises(UserError, match=r"received: x\.jpg, x\.png"):
        _find(tmp_path, "x", "x.tif")
    assert _find(tmp_path, "x", "x.png") == "x.png"
    assert _find(tmp_path, "y") == "y.png"


def test_unicode_forms_and_encodings(tmp_path):
    decomposed = unicodedata.normalize("NFD", "é.png")
    _touch(tmp_path, decomposed)
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb"):
        pass
    assert _find(tmp_path, "é", "é.png") == decomposed
    assert _find(tmp_path, "café", "café.jpg") == "caf\udce9.png"
    assert comparable("\ud800") == "\ud800"


def test_names_without_an_ending(tmp_path):
    _touch(tmp_path, "a.v2.png", "b.png")
    lookup = ImageLookup()
    assert lookup.find_named([tmp_path], "o", "a.v2") == str(tmp_path / "a.v2.png")
    assert lookup.find_named([tmp_path], "p", "b.tif") == str(tmp_path / "b.png")
    assert lookup.find_named([tmp_path], "q", "c") is None


def test_an_image_is_that_of_one_annotation(tmp_path):
    _touch(tmp_path, "x.jpg")
    lookup = ImageLookup()
    for _ in range(2):
        assert lookup.find([tmp_path], "x.jpg", "x", "x.jpg") == str(tmp_path / "x.jpg")
    with pytest.raises(UserError, match=r"'.*x\.jpg' is that of 'x\.jpg' and of 'x\.png'"):
        lookup.find([tmp_path], "x.png", "x", "x.png")


def test_what_lies_beside_a_missing_image(tmp_path):
    _touch(tmp_path, "x.heic", "X.xml", "y.heic")
    assert similar_files(tmp_path / "x.jpg") == ["X.xml", "x.heic"]
    assert similar_files(tmp_path / "none/x.jpg") == []
