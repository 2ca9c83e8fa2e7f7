import numpy as np

from condconv_keras.data import open_detection_dataset
from condconv_keras.data.sources import digit_scenes
from condconv_keras.data.sources.digit_scenes import PlacedDigit, render, scene_digits
from condconv_keras.data.sources.digits import digit_splits


def test_description():
    scenes = open_detection_dataset("digit_scenes")
    assert scenes.name == "digit_scenes"
    assert scenes.class_names == tuple("0123456789")
    assert scenes.category_ids == tuple(range(1, 11))
    assert scenes.image_shape == (300, 300, 3)
    assert scenes.splits == {"train": 10000, "validation": 200}
    assert (scenes.evaluation_split, scenes.held_out) == ("validation", False)
    assert scenes.decoded_bytes("validation") == 200 * 300 * 300 * 3


def test_the_data_set_has_the_scenes_in_order():
    dataset = open_detection_dataset("digit_scenes")
    for index, (image, label) in enumerate(dataset.examples("train").take(4).as_numpy_iterator()):
        digits = scene_digits("train", index)
        np.testing.assert_array_equal(image, render("train", index, digits))
        boxes = np.array([digit.box for digit in digits])
        np.testing.assert_allclose(label["boxes"], boxes / 300, rtol=1e-6)
        np.testing.assert_allclose(label["area"], [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes])
        assert label["classes"].tolist() == [digit.digit for digit in digits]
        assert label["is_crowd"].tolist() == [False] * len(digits)
        assert label["image_id"] == index
        dtypes = [label[name].dtype for name in ("boxes", "classes", "is_crowd", "area", "image_id")]
        assert dtypes == [np.float32, np.int32, bool, np.float32, np.int64]


def test_the_scenes_are_those_of_the_figures_on_record():
    """Every recorded average precision is of these: a scene's digits, its background and its noise never change."""
    expected = {
        ("train", 0): ([1, 5, 0, 3, 7], (16, 4, 98, 33), 166.232),
        ("train", 9999): ([3, 0, 9], (74, 171, 194, 267), 129.529),
        ("validation", 7): ([8, 9, 6, 3], (131, 74, 247, 158), 138.142),
    }
    for (split, index), (classes, first_box, mean) in expected.items():
        digits = scene_digits(split, index)
        assert ([digit.digit for digit in digits], digits[0].box) == (classes, first_box)
        assert abs(render(split, index, digits).mean() - mean) < 0.01


def test_a_scene_is_always_the_same_and_unlike_others():
    first, again = (dict(enumerate(_images("validation", 3, None))) for _ in range(2))
    for index, (image, _) in first.items():
        np.testing.assert_array_equal(image, again[index][0])
    assert not np.array_equal(first[0][0], first[1][0])
    assert not np.array_equal(first[0][0], _images("train", 1, None)[0][0])


def test_a_seed_permutes_the_scenes():
    shuffled, other = ([int(label["image_id"]) for _, label in _images("validation", 5, seed)] for seed in (1, 2))
    assert shuffled != other
    image, label = _images("validation", 1, 1)[0]
    index = int(label["image_id"])
    np.testing.assert_array_equal(image, render("validation", index, scene_digits("validation", index)))


def _images(split, count, seed):
    dataset = open_detection_dataset("digit_scenes")
    return list(dataset.examples(split, shuffle_files_seed=seed).take(count).as_numpy_iterator())


def test_boxes_are_tight_around_the_pixels_that_a_digit_changes():
    checked = 0
    for index in range(30):
        empty = render("train", index, []).astype(int)
        for digit in scene_digits("train", index):
            changed = np.abs(render("train", index, [digit]) - empty).max(axis=-1) > 0
            rows, columns = np.nonzero(changed)
            top, left, bottom, right = digit.box
            # Nothing outside changes. The faintest ink at the border may round to no change: two pixels for that.
            assert top <= rows.min() <= top + 2 and bottom - 2 <= rows.max() + 1 <= bottom
            assert left <= columns.min() <= left + 2 and right - 2 <= columns.max() + 1 <= right
            # The ink itself reaches every side of the box.
            assert all(side.max() > 0 for side in (digit.ink[0], digit.ink[-1], digit.ink[:, 0], digit.ink[:, -1]))
            checked += 1
    assert checked > 60


def test_number_size_and_place_of_the_digits():
    scenes = [scene_digits(split, index) for split in ("train", "validation") for index in range(150)]
    boxes = np.array([digit.box for digits in scenes for digit in digits])
    heights = boxes[:, 2] - boxes[:, 0]
    assert boxes.min() >= 0 and boxes.max() <= 300
    assert heights.min() >= 57 and heights.max() <= 172 and heights.max() > 2.2 * heights.min()
    counts = [len(digits) for digits in scenes]
    assert min(counts) == 1 and max(counts) == 5
    assert {digit.digit for digits in scenes for digit in digits} == set(range(10))


def test_digits_overlap_little():
    for index in range(100):
        masks = []
        for digit in scene_digits("train", index):
            top, left, bottom, right = digit.box
            mask = np.zeros((300, 300), bool)
            mask[top:bottom, left:right] = True
            for other in masks:
                assert (mask & other).sum() <= 0.1 * min(mask.sum(), other.sum())
            masks.append(mask)


def test_digits_stand_out_from_the_canvas():
    darker = []
    for index in range(40):
        canvas = render("train", index, []).astype(float)
        for digit in scene_digits("train", index):
            top, left, bottom, right = digit.box
            painted = render("train", index, [digit])[top:bottom, left:right].astype(float)
            covered = digit.ink == 1
            difference = painted[covered].mean() - canvas[top:bottom, left:right].mean()
            assert abs(difference) > 20
            darker.append(difference < 0)
    assert 0.2 < np.mean(darker) < 0.8


def test_validation_scenes_have_other_digits(monkeypatch):
    """The digits of the two splits get a label each, which shows where those of a scene come from."""
    digits = digit_splits()
    labels_of = {"train": 4, "test": 7}
    marked = {name: (images, np.full_like(labels, labels_of[name])) for name, (images, labels) in digits.items()}
    monkeypatch.setattr(digit_scenes, "_digits", lambda: marked)
    assert {digit.digit for index in range(20) for digit in scene_digits("train", index)} == {4}
    assert {digit.digit for index in range(20) for digit in scene_digits("validation", index)} == {7}


def test_ink_covers_what_is_below():
    below = render("train", 0, []).astype(int)
    ink = np.zeros((40, 30), np.float32)
    ink[:, :15] = 1
    painted = render("train", 0, [PlacedDigit(3, 100, 200, ink, 5)]).astype(int)
    covered = painted[100:140, 200:215]
    # One color but for the noise of 6 up and down.
    assert (covered.max(axis=(0, 1)) - covered.min(axis=(0, 1)) <= 12).all()
    painted[100:140, 200:215] = below[100:140, 200:215]
    np.testing.assert_array_equal(painted, below)
