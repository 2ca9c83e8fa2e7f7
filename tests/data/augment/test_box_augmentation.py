import colorsys

import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import Preprocessing
from condconv_keras.data.augment.box_augmentation import (
    AREA_RANGE,
    color_jitter,
    crop_boxes,
    flip_boxes,
    random_flip,
    ssd_random_crop,
    training_detection_example,
)
from condconv_keras.utils.errors import UserError

PREPROCESSING = Preprocessing((24, 32), 3, 100.0, 50.0, "bilinear")
SEEDS = range(60)


def _seed(index):
    return tf.constant([index, 7], tf.int64)


def _label(boxes, classes=None, is_crowd=None):
    count = len(boxes)
    return {
        "boxes": tf.reshape(tf.constant(boxes, tf.float32), [count, 4]),
        "classes": tf.range(count) if classes is None else tf.constant(classes, tf.int32),
        "is_crowd": tf.zeros([count], tf.bool) if is_crowd is None else tf.constant(is_crowd, tf.bool),
        "area": tf.zeros([count]),
        "image_id": tf.constant(3, tf.int64),
    }


def _coordinates(height=40, width=60):
    """An image whose first two channels say where a pixel was: the row and the column."""
    rows, columns = np.mgrid[:height, :width]
    return tf.constant(np.stack([rows, columns, np.zeros_like(rows)], axis=-1), tf.float32)


def _window(cropped):
    """Returns (top, left, bottom, right) of a part of `_coordinates`."""
    top, left = cropped[0, 0, :2].numpy()
    return np.array([top, left, top + cropped.shape[0], left + cropped.shape[1]])


def _crops(boxes, is_crowd=None, height=40, width=60, seeds=SEEDS):
    """Yields the windows in pixels and the label that the seeds give."""
    crop = tf.function(ssd_random_crop)
    for index in seeds:
        cropped, label = crop(_coordinates(height, width), _label(boxes, is_crowd=is_crowd), _seed(index))
        yield _window(cropped), {name: values.numpy() for name, values in label.items()}


def test_boxes_of_a_part():
    boxes = [
        [0.3, 0.4, 0.5, 0.6],  # inside
        [0.0, 0.0, 0.6, 0.6],  # the center (0.3, 0.3) inside: clipped
        [0.0, 0.0, 0.2, 0.2],  # outside
        [0.1, 0.0, 0.9, 0.3],  # the center (0.5, 0.15) left of the part
        [0.2, 0.2, 0.6, 1.0],  # the center (0.4, 0.6) inside
    ]
    cropped = crop_boxes(
        _label(boxes, [5, 6, 7, 8, 9], [False, True, False, True, False]), tf.constant([0.2, 0.2, 0.6, 0.7])
    )
    expected = [[0.25, 0.4, 0.75, 0.8], [0, 0, 1, 0.8], [0, 0, 1, 1]]
    np.testing.assert_allclose(cropped["boxes"], expected, atol=1e-6)
    assert cropped["classes"].numpy().tolist() == [5, 6, 9]
    assert cropped["is_crowd"].numpy().tolist() == [False, True, False]


def test_random_parts_against_numpy():
    boxes = np.random.default_rng(0).uniform(0, 1, (20, 2, 2))
    boxes = np.concatenate([boxes.min(axis=1), boxes.max(axis=1)], axis=1).astype(np.float32)
    parts = 0
    for window, label in _crops(boxes):
        begin, end = window[:2], window[2:]
        pixels = boxes * np.array([40, 60, 40, 60])
        centers = (pixels[:, :2] + pixels[:, 2:]) / 2
        kept = ((centers >= begin) & (centers < end)).all(axis=1)
        clipped = np.clip(pixels[kept], np.tile(begin, 2), np.tile(end, 2))
        expected = (clipped - np.tile(begin, 2)) / np.tile(end - begin, 2)
        np.testing.assert_allclose(label["boxes"], expected, atol=1e-5)
        assert label["classes"].tolist() == np.flatnonzero(kept).tolist()
        parts += window.tolist() != [0, 0, 40, 60]
    assert 30 < parts < 60


def test_area_and_aspect_ratio_of_the_parts():
    areas, ratios = [], []
    for window, _ in _crops([[0.1, 0.1, 0.9, 0.9]], height=200, width=200):
        height, width = window[2:] - window[:2]
        areas.append(height * width / 200**2)
        ratios.append(width / height)
    assert min(areas) > AREA_RANGE[0] * 0.95 and max(areas) == 1
    assert min(areas) < 0.5
    assert 0.48 < min(ratios) < 0.8 and 1.25 < max(ratios) < 2.1


def test_a_part_covers_enough_of_a_box():
    """With one small box far from the center, one option of seven may leave it out, and one may cover a tenth."""
    box = np.array([0.85, 0.85, 0.95, 0.95])
    covered = []
    for window, _ in _crops([box], height=200, width=200, seeds=range(150)):
        pixels = box * 200
        side = np.maximum(np.minimum(pixels[2:], window[2:]) - np.maximum(pixels[:2], window[:2]), 0)
        covered.append(side.prod() / 20**2)
    covered = np.array(covered)
    assert (covered < 0.09).mean() < 0.2
    assert (covered > 0.5).mean() > 0.6
    assert (covered == 0).any()


def test_parts_are_chosen_by_boxes_that_are_no_crowd():
    crowd, single = [0.0, 0.0, 0.15, 0.15], [0.8, 0.8, 0.95, 0.95]
    kept = [label["is_crowd"].tolist() for _, label in _crops([crowd, single], [True, False], seeds=range(150))]
    assert np.mean([False in flags for flags in kept]) > 0.6
    assert np.mean([True in flags for flags in kept]) < 0.5
    assert [True] in kept  # an image that has lost all but its crowd


@pytest.mark.parametrize("is_crowd", [[], [True]])
def test_an_image_without_boxes(is_crowd):
    windows = [window.tolist() for window, _ in _crops([[0.1, 0.1, 0.5, 0.5]] * len(is_crowd), is_crowd)]
    assert len({tuple(window) for window in windows}) > 1
    assert all(label["classes"].shape == (0,) for _, label in _crops([]))


def test_flipped_boxes():
    boxes = tf.constant([[0.1, 0.2, 0.3, 0.6], [0.0, 0.0, 1.0, 0.25]])
    np.testing.assert_allclose(flip_boxes(boxes), [[0.1, 0.4, 0.3, 0.8], [0.0, 0.75, 1.0, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(flip_boxes(flip_boxes(boxes)), boxes, atol=1e-6)


def test_half_of_the_images_are_flipped_with_their_boxes():
    image, label = _coordinates(), _label([[0.1, 0.2, 0.3, 0.6]], [4], [True])
    flips = 0
    for index in SEEDS:
        flipped, of_flipped = random_flip(image, label, _seed(index))
        is_flipped = bool(flipped[0, 0, 1] > 0)
        np.testing.assert_array_equal(flipped, image[:, ::-1] if is_flipped else image)
        expected = [[0.1, 0.4, 0.3, 0.8]] if is_flipped else [[0.1, 0.2, 0.3, 0.6]]
        np.testing.assert_allclose(of_flipped["boxes"], expected, rtol=1e-6)
        assert (of_flipped["classes"].numpy().tolist(), of_flipped["is_crowd"].numpy().tolist()) == ([4], [True])
        flips += is_flipped
    assert 18 < flips < 42


def test_the_range_of_the_color_jitter():
    """Of one gray, contrast and saturation and hue change nothing: what is left is the brightness."""
    jitter = tf.function(color_jitter)
    changes = [float(jitter(tf.fill([4, 4, 3], 100.0), _seed(index))[0, 0, 0]) - 100 for index in range(150)]
    assert -32 <= min(changes) < -20 and 20 < max(changes) <= 32
    assert 0.35 < np.mean(np.abs(changes) < 1e-3) < 0.65


def test_the_range_of_the_hue_and_saturation():
    color = np.array([180.0, 90.0, 90.0])  # hue 0, saturation 1/2
    jitter = tf.function(color_jitter)
    hues, saturations = [], []
    for index in range(150):
        hue, saturation, _ = colorsys.rgb_to_hsv(*jitter(tf.fill([4, 4, 3], 1.0) * color, _seed(index))[0, 0].numpy())
        hues.append((hue + 0.5) % 1 - 0.5)
        saturations.append(saturation)
    assert -0.1001 <= min(hues) < -0.06 and 0.06 < max(hues) <= 0.1001
    # Brightness changes it a little, too: 90 / 148 without saturation's part.
    assert 0.19 < min(saturations) < 0.35 and 0.65 < max(saturations) < 0.93


def test_jittered_images_stay_in_range():
    random = np.random.default_rng(0)
    jitter = tf.function(color_jitter)
    for channels in (1, 3):
        image = tf.constant(random.choice([0.0, 3.0, 128.0, 255.0], (8, 8, channels)), tf.float32)
        results = np.stack([jitter(image, _seed(index)) for index in SEEDS])
        assert np.isfinite(results).all() and results.min() >= 0 and results.max() <= 255
        assert results.std(axis=0).max() > 5


def test_no_augmentation_is_the_evaluation_image():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    label = _label([[0.1, 0.2, 0.3, 0.6]], [4], [True])
    prepared, boxes, classes, is_crowd = training_detection_example(image, label, _seed(0), PREPROCESSING, "none")
    np.testing.assert_allclose(prepared, (PREPROCESSING.evaluation_image(image) - 100) / 50, rtol=1e-5)
    np.testing.assert_allclose(boxes, label["boxes"])
    assert (classes.numpy().tolist(), is_crowd.numpy().tolist()) == ([4], [True])
    assert prepared.shape == (24, 32, 3)


@pytest.mark.parametrize("augmentation", ["ssd", "ssd_no_flip"])
def test_a_box_stays_on_its_object(augmentation):
    """The object is bright on a dark canvas and has a darker left edge, which a flip moves to the right."""
    image = np.zeros((60, 80, 3), np.uint8)
    image[18:42, 32:56] = 200
    image[18:42, 32:40] = 100
    label = _label([[18 / 60, 32 / 80, 42 / 60, 56 / 80]])
    preprocessing = Preprocessing((120, 160), 3, 0.0, 1.0, "bilinear")
    prepare = tf.function(lambda seed: training_detection_example(image, label, seed, preprocessing, augmentation))
    found, flipped = 0, 0
    for index in range(40):
        prepared, boxes, _, _ = prepare(_seed(index))
        pixels = prepared.numpy().mean(axis=-1)
        if len(boxes) == 0:
            continue
        top, left, bottom, right = boxes[0].numpy() * np.array([120, 160, 120, 160])
        bright = pixels > (pixels.max() + pixels.min()) / 4 + pixels.min() / 2
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        np.testing.assert_allclose([rows[0], rows[-1] + 1], [top, bottom], atol=4)
        np.testing.assert_allclose([columns[0], columns[-1] + 1], [left, right], atol=6)
        first, *_, last = np.array_split(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 4, axis=1)
        flipped += last.mean() < 0.8 * first.mean()
        found += 1
    assert found > 25
    assert flipped == 0 if augmentation == "ssd_no_flip" else flipped > 5


def test_the_seed_alone_decides():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    label = _label(np.array([[0.1, 0.2, 0.3, 0.6], [0.5, 0.5, 0.9, 0.9]]))
    results = []
    for global_seed, index in ((1, 5), (2, 5), (1, 6)):
        tf.random.set_seed(global_seed)
        results.append(training_detection_example(image, label, _seed(index), PREPROCESSING, "ssd"))
    for one, two in zip(results[0], results[1], strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.allclose(results[0][0], results[2][0])


def test_random_images_and_boxes_give_only_good_ones():
    random = np.random.default_rng(0)
    prepare = tf.function(
        lambda image, label, seed: training_detection_example(image, label, seed, PREPROCESSING, "ssd"),
        reduce_retracing=True,
    )
    for index in range(60):
        height, width, count = random.integers(1, 50), random.integers(1, 50), random.integers(0, 6)
        image = tf.constant(random.integers(0, 256, (height, width, 3)), tf.uint8)
        corners = np.sort(random.choice([0, 1e-7, 0.3, 0.300001, 0.7, 1], (count, 2, 2)), axis=1).reshape(count, 4)
        prepared, boxes, classes, is_crowd = prepare(image, _label(corners), _seed(index))
        assert np.isfinite(prepared).all() and prepared.shape == (24, 32, 3)
        assert len(boxes) == len(classes) == len(is_crowd)
        assert np.isfinite(boxes).all() and np.min(boxes, initial=0) >= 0 and np.max(boxes, initial=1) <= 1
        assert (boxes[:, 2:] > boxes[:, :2]).numpy().all()


def test_wrong_arguments():
    image, label = np.zeros((4, 4, 3), np.uint8), _label([])
    with pytest.raises(UserError, match=r"unknown augmentation 'sd'\. Did you mean 'ssd'"):
        training_detection_example(image, label, _seed(0), PREPROCESSING, "sd")
    with pytest.raises(ValueError, match=r"crop fraction of 1 for detection\. Received: 0\.875"):
        training_detection_example(
            image, label, _seed(0), Preprocessing((8, 8), 3, 0.0, 1.0, crop_fraction=0.875), "ssd"
        )
