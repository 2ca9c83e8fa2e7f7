import os

import pytest
from absl import logging

from condconv_keras.data.sources import image_files
from condconv_keras.data.sources.image_files import counted, find_images, search
from condconv_keras.utils.errors import UserError


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _found(folder):
    return [os.path.relpath(path, folder) for path in search(folder).images]


def test_folders_are_searched_and_files_are_taken_as_they_are(tmp_path):
    names = ["b/deep/2.PNG", "b/1.jpeg", "a.bmp", "b/notes.txt", ".hidden/3.png", "b/.4.png", "named.dat"]
    _touch(tmp_path, *names)
    found = find_images([tmp_path / "named.dat", str(tmp_path)])
    assert found.images == [tmp_path / name for name in ("named.dat", "a.bmp", "b/1.jpeg", "b/deep/2.PNG")]
    assert found.ignored == {".txt": 1, ".dat": 1, "hidden .png": 1}


def test_every_format_of_the_decoder_is_found_whatever_the_case_of_its_ending(tmp_path):
    names = ["1.jpg", "2.Jpg", "3.JPEG", "4.jpe", "5.JFIF", "6.png", "7.Bmp", "8.dib", "9.GIF", "a.WebP", "b.webp"]
    _touch(tmp_path, *names, "c.heic", "d.TIF", "e.tif", "f", "webp")
    assert _found(tmp_path) == names
    assert search(tmp_path).ignored == {".heic": 1, ".tif": 2, "without an ending": 2}


def test_missing_and_empty_places_are_named(tmp_path):
    with pytest.raises(UserError, match="nothing lies at"):
        find_images([tmp_path / "x.png"])
    with pytest.raises(UserError, match=r"has no image \(\.bmp, .*\.webp\)$"):
        find_images([tmp_path])
    _touch(tmp_path, "1.heic", "2.heic", "3.txt")
    with pytest.raises(UserError, match=r"has no image \(\.bmp, .*\), only 2 \.heic, 1 \.txt$"):
        find_images([tmp_path])


def test_the_home_folder_spaces_quotes_and_bytes_that_are_no_utf_8(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ['a b/it\'s "1".png', "größe/[1].png", "größe/*.png"]
    _touch(tmp_path / "my images", *names)
    odd = os.fsencode(tmp_path) + b"/my images/caf\xe9.png"
    with open(odd, "wb"):
        pass
    found = find_images(["~/my images", "~/my images/größe/*.png"]).images
    assert [os.fsencode(path) for path in found[:2]] == [os.fsencode(tmp_path / "my images" / names[0]), odd]
    assert found[2:] == [tmp_path / "my images" / names[i] for i in (2, 1, 2)]
    with pytest.raises(UserError, match="nothing lies at '~no one/x'"):
        find_images(["~no one/x"])


def test_symbolic_links_are_followed_and_their_loops_end(tmp_path):
    _touch(tmp_path, "set/a/1.png", "set/b/2.png", "store/3.png", "store/deep/4.png")
    a = tmp_path / "set/a"
    (a / "linked").symlink_to(tmp_path / "store")
    (a / "5.png").symlink_to(tmp_path / "store/3.png")
    (tmp_path / "store/deep/back").symlink_to(a)
    (tmp_path / "store/self").symlink_to("self")
    (a / "up").symlink_to(tmp_path / "set")
    (a / "here").symlink_to(".")
    (a / "gone.png").symlink_to(tmp_path / "nothing.png")
    # A broken link is an image that cannot be read, and not passed over.
    assert _found(a) == ["1.png", "5.png", "gone.png", "linked/3.png", "linked/deep/4.png"]
    assert search(a).ignored == {"links to a folder around them": 3, "broken links": 1}


def test_what_is_searched_anyway_is_not_found_twice(tmp_path):
    _touch(tmp_path, "run_1/1.png", "run_2/2.png", ".cache/3.png")
    (tmp_path / "latest").symlink_to("run_2")
    (tmp_path / "kept").symlink_to(".cache")
    (tmp_path / "again").symlink_to("kept/../run_1")
    assert _found(tmp_path) == ["kept/3.png", "run_1/1.png", "run_2/2.png"]


def test_what_systems_put_beside_images_is_passed_over(tmp_path):
    _touch(tmp_path, "a/1.png", "a/._1.png", "a/@eaDir/1.jpg", "__MACOSX/a/2.png", "a/.2.png", "a/Thumbs.db")
    _touch(tmp_path, "a/__pycache__/x.pyc", "#recycle/3.png")
    assert _found(tmp_path) == ["a/1.png"]
    assert search(tmp_path).ignored == {".db": 1, "hidden .png": 1}


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "1.png")
    (tmp_path / "2.png").mkdir()
    _touch(tmp_path, "2.png/3.png")
    assert _found(tmp_path) == ["2.png/3.png"]
    assert search(tmp_path).ignored == {"special files": 1}


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(image_files.os, "scandir", refuse)
    with pytest.raises(UserError, match=rf"the folder '{tmp_path}' cannot be read \(Permission denied\)"):
        search(tmp_path)


def test_what_is_ignored_is_said_in_one_line(monkeypatch):
    ignored = {f".{i}": 20 - i for i in range(10)} | {".a\nb": 30}
    assert counted(ignored) == "30 .a b, 20 .0, 19 .1, 18 .2, 17 .3, 16 .4, 15 .5, 14 .6, 36 others"
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: lines.append(text % values))
    image_files.warn_of_ignored("d", {})
    image_files.warn_of_ignored("d", {".txt": 3})
    assert lines == ["Not used in d: 3 .txt"]
