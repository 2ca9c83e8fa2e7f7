import pytest

from condconv_keras.data.sources.image_files import find_images
from condconv_keras.utils.errors import UserError


def test_folders_are_searched_and_files_are_taken_as_they_are(tmp_path):
    names = ["b/deep/2.PNG", "b/1.jpeg", "a.bmp", "b/notes.txt", ".hidden/3.png", "b/.4.png", "named.dat"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_images([tmp_path / "named.dat", str(tmp_path)])
    assert found == [tmp_path / name for name in ("named.dat", "a.bmp", "b/1.jpeg", "b/deep/2.PNG")]


def test_missing_and_empty_places_are_named(tmp_path):
    with pytest.raises(UserError, match="nothing lies at"):
        find_images([tmp_path / "x.png"])
    with pytest.raises(UserError, match=r"has no image \(\.bmp, \.gif"):
        find_images([tmp_path])
