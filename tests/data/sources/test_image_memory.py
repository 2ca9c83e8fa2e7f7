"""A folder that is opened again: what is read anew, and that nothing comes out otherwise for it."""

import os
import shutil
import stat

import numpy as np
import pytest
from absl import logging
from PIL import Image

from condconv_keras.data import open_dataset, open_detection_dataset
from condconv_keras.data.sources import image_checks, image_memory
from condconv_keras.utils.cache import cache_folder
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import coco_box, coco_image, save_image, write_coco
from tests.data.splits import write_classes
from tests.images import encoded, exif, smooth_photo, truncate

COUNTS = {"ant": 6, "bee": 5}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The Keras home of the test, which holds the cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path):
    """A folder of classes; all images are 4x4."""
    write_classes(tmp_path / "set", COUNTS)
    return tmp_path / "set"


@pytest.fixture
def read(monkeypatch):
    """The list that the names of the files which a check reads are added to."""
    names, read_file = [], image_checks.read_file

    def noted(path):
        names.append(os.path.basename(os.path.dirname(path)) + "/" + os.path.basename(path))
        return read_file(path)

    monkeypatch.setattr(image_checks, "read_file", noted)
    return names


def _facts(dataset):
    """All that an opened folder says."""
    return {
        **{name: value for name, value in vars(dataset).items() if not name.startswith("_")},
        "images": {split: dataset.example_names(split) for split in dataset.splits},
        "counts": {split: dataset.class_counts(split).tolist() for split in dataset.splits},
    }


def _memory_file(home):
    (file,) = (home / "condconv_keras" / "checked_images").iterdir()
    return file


def _save(path, height, width):
    Image.fromarray(np.full((height, width, 3), 7, np.uint8)).save(path)


def test_an_image_is_read_once(root, home, read):
    shutil.copy(root / "ant/00.png", root / "bee/again.png")
    first = _facts(open_dataset(root, validation_fraction=0.4))
    assert len(read) == 12 and len(set(read)) == 12
    assert first["image_shape"] == (4, 4, 3)
    assert first["decoded_sizes"] == {split: 48 * count for split, count in first["splits"].items()}
    read.clear()
    assert _facts(open_dataset(root, validation_fraction=0.4)) == first
    # By another way to the same folder, and split in another way.
    (root.parent / "link").symlink_to(root)
    assert open_dataset(root.parent / "link").image_shape == (4, 4, 3)
    assert read == []
    assert stat.S_IMODE(_memory_file(home).parent.stat().st_mode) == 0o700
    assert not {entry.name for entry in root.iterdir()} - {"ant", "bee"}


def test_what_has_changed_is_read_again(root, read):
    assert open_dataset(root).image_shape == (4, 4, 3)
    read.clear()
    _save(root / "ant/02.png", 6, 4)
    os.utime(root / "bee/01.png", ns=(0, 10**9))
    _save(root / "bee/new.png", 4, 4)
    (root / "ant/05.png").unlink()
    dataset = open_dataset(root)
    assert sorted(read) == ["ant/02.png", "bee/01.png", "bee/new.png"]
    assert dataset.image_shape == (None, 4, 3)
    assert sum(dataset.decoded_sizes.values()) == 10 * 48 + 72
    read.clear()
    assert _facts(open_dataset(root)) == _facts(dataset) and read == []
    # One that is gone has dropped out, and is new when it comes back.
    _save(root / "ant/05.png", 4, 4)
    open_dataset(root)
    assert read == ["ant/05.png"] and image_memory.ImageMemory(root, []).size == 12
    (root / "ant/05.png").unlink()
    open_dataset(root)
    assert image_memory.ImageMemory(root, []).size == 11


def test_the_same_size_and_time_are_the_same_file(root, read):
    """This is what counts: a content that is not looked at again may be any."""
    open_dataset(root)
    path = root / "ant/03.png"
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    read.clear()
    assert open_dataset(root).image_shape == (4, 4, 3) and read == []
    os.utime(path)
    with pytest.raises(UserError, match=r"cannot decode '.*ant/03\.png'"):
        open_dataset(root)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"something else" * 100,
        lambda content: content[:-1],
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    ],
    ids=["empty", "foreign", "cut off", "one bit"],
)
def test_a_damaged_file_is_no_memory(damage, root, home, read):
    first = _facts(open_dataset(root))
    file = _memory_file(home)
    content = file.read_bytes()
    file.write_bytes(damage(content))
    read.clear()
    assert _facts(open_dataset(root)) == first and len(read) == 11
    assert file.read_bytes() == content
    read.clear()
    assert _facts(open_dataset(root)) == first and read == []


def test_nor_is_that_of_another_version(root, monkeypatch, read):
    open_dataset(root)
    for name, value in (("_VERSION", 2), ("own_version", lambda: "0.3")):
        monkeypatch.setattr(image_memory, name, value)
        read.clear()
        open_dataset(root)
        assert len(read) == 11
    read.clear()
    open_dataset(root)
    assert read == []


def _no_home():
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("place", ["a file", "a folder in the way", "no home"])
def test_a_place_that_cannot_be_written_is_no_error(place, root, home, monkeypatch, read, capsys):
    said = []
    monkeypatch.setattr(logging, "warning", lambda *values: said.append(values))
    if place == "a file":
        home.touch()
    elif place == "no home":
        monkeypatch.setattr(image_memory, "cache_folder", _no_home)
    else:
        image_memory._file_of(root).mkdir(parents=True)
        (image_memory._file_of(root) / "x").touch()
    for _ in range(2):
        read.clear()
        assert open_dataset(root).image_shape == (4, 4, 3) and len(read) == 11
    assert said == [] and capsys.readouterr().err == ""


def test_two_settings_of_the_orientation_share_no_facts(root, read):
    photo = smooth_photo(20, 30)
    for name in ("ant", "bee"):
        shutil.rmtree(root / name)
        (root / name).mkdir()
        for i, orientation in enumerate((6, 8)):
            (root / name / f"{i}.png").write_bytes(encoded(photo, "PNG", exif=exif(orientation)))
    for applied in (True, False, True):
        dataset = open_dataset(root, apply_orientation=applied)
        assert dataset.image_shape == ((30, 20, 3) if applied else (20, 30, 3))
        ((image, _), *_) = dataset.examples("train").as_numpy_iterator()
        assert image.shape == dataset.image_shape
    assert len(read) == 4


def test_bad_images_stay_bad(root, read, monkeypatch):
    truncate(root / "ant/01.png")
    (root / "bee/02.png").write_bytes(b"")
    (root / "bee/gone.png").symlink_to(root / "nothing.png")
    with pytest.raises(UserError) as first:
        open_dataset(root)
    assert "bad images: 3 of 12" in str(first.value) and "ant/01.png" in str(first.value)
    read.clear()
    with pytest.raises(UserError) as again:
        open_dataset(root)
    # What cannot be read may be there the next time.
    assert str(again.value) == str(first.value) and read == ["bee/gone.png"]
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    dataset = open_dataset(root, skip_bad_images=True)
    assert sum(dataset.skipped.values()) == 3 and sum(dataset.splits.values()) == 9
    assert [line.split(":")[0] for line in said] == [
        f"Skipping {root / name}" for name in ("ant/01.png", "bee/02.png", "bee/gone.png")
    ]
    assert said[1].endswith(": Input is empty")
    (root / "bee/gone.png").unlink()
    write_classes(root, {"ant": 6})
    _save(root / "bee/02.png", 4, 4)
    read.clear()
    assert open_dataset(root).skipped == {"train": 0, "validation": 0}
    assert sorted(read) == [*(f"ant/{i:02}.png" for i in range(6)), "bee/02.png"]


def test_many_images_are_checked_as_few_are(root, monkeypatch, capsys):
    _save(root / "ant/wide.png", 4, 9)
    (root / "ant/turned.jpg").write_bytes(encoded(smooth_photo(8, 12), "JPEG", exif=exif(6)))
    odd = os.fsdecode(os.fsencode(root) + b"/ant/caf\xe9.png")
    _save(odd, 3, 4)
    shutil.copy(odd, root / "bee/same.png")
    truncate(root / "bee/03.png")
    (root / "ant/07.png").write_bytes(b"text")
    monkeypatch.setattr(image_memory, "_write", lambda *arguments: None)
    paths = sorted(os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    few = image_checks.check_images(root, paths, True, True)
    for name in ("BULK_FROM", "PROGRESS_FROM"):
        monkeypatch.setattr(image_checks, name, 3)
    many = image_checks.check_images(root, paths, True, True)
    bad = [root / "ant/07.png", root / "bee/03.png"]
    assert [path for path, is_good in zip(paths, many.is_good, strict=True) if not is_good] == list(map(str, bad))
    for field in ("is_good", "sizes", "orientations", "contents"):
        np.testing.assert_array_equal(getattr(many, field)[many.is_good], getattr(few, field)[many.is_good])
    sizes = dict(zip(paths, many.sizes.tolist(), strict=True))
    assert [sizes[str(root / name)] for name in ("ant/turned.jpg", "ant/wide.png")] == [[12, 8], [4, 9]]
    assert sizes[odd] == [3, 4]
    assert "Checking images: 100%" in capsys.readouterr().err


def test_a_check_that_is_interrupted_goes_on_where_it_was(root, monkeypatch, read):
    put, done = image_checks._put, []

    def interrupted(facts, row, *values):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(row)
        put(facts, row, *values)

    with monkeypatch.context() as patch:
        patch.setattr(image_checks, "_put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_dataset(root)
    read.clear()
    assert open_dataset(root).image_shape == (4, 4, 3)
    assert len(read) == 7


def test_images_of_annotations_are_remembered_too(tmp_path, read):
    root = tmp_path / "boxes"
    for i in range(4):
        save_image(root / f"{i}.png", seed=i)
    write_coco(
        root / "instances.json", [coco_image(i) for i in range(4)], [coco_box(i, [1, 2, 3, 4]) for i in range(4)]
    )
    expected = open_detection_dataset(root)
    assert len(read) == 4
    read.clear()
    dataset = open_detection_dataset(root)
    assert (dataset.image_shape, dataset.decoded_sizes) == ((20, 40, 3), expected.decoded_sizes) and read == []


def test_the_folders_that_were_opened_last_are_remembered(root, home, monkeypatch, read):
    monkeypatch.setattr(image_memory, "_MOST_FOLDERS", 2)
    roots = [root, *(root.parent / name for name in ("b", "c"))]
    for i, folder in enumerate(roots):
        if folder is not root:
            shutil.copytree(root, folder)
        if i == 2:
            os.utime(image_memory._file_of(roots[1]), ns=(0, 10**9))
        open_dataset(folder)
    read.clear()
    open_dataset(roots[0])
    open_dataset(roots[2])
    assert read == [] and len(list((cache_folder() / "checked_images").iterdir())) == 2
