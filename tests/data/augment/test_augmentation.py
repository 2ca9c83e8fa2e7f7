import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import AugmentationOptions, Preprocessing
from condconv_keras.data.augment.augmentation import get_spatial, make_augmentation
from condconv_keras.data.input.decoding import DecodedImage
from condconv_keras.tasks.classification.task import TASK
from condconv_keras.utils.errors import UserError

NAMES = ("none", "pad_crop", "inception")
SEEDS = [(seed, 7) for seed in range(40)]


def _ramp(height, width, row_step, column_step):
    """A linear image: every crop of it, resized or not, stays linear."""
    rows, columns = np.mgrid[:height, :width]
    return (rows * row_step + columns * column_step).astype(np.float32)[..., np.newaxis]


def test_an_unknown_name():
    with pytest.raises(UserError, match=r"unknown augmentation 'inceptoin'\. Did you mean 'inception'"):
        AugmentationOptions("inceptoin")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_constant_image_stays_constant(name, channels):
    preprocessing = Preprocessing((12, 16), channels, 0.0, 1.0)
    image = np.full((20, 30, 3), 77, np.uint8)
    for seed in SEEDS[:5]:
        result = get_spatial(name)(DecodedImage(image), seed, preprocessing)
        assert result.dtype == tf.float32
        np.testing.assert_allclose(result, np.full((12, 16, channels), 77), atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides(name):
    preprocessing = Preprocessing((16, 16), 3, 0.0, 1.0)
    image = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    results = []
    for global_seed in (1, 2):
        tf.random.set_seed(global_seed)
        results.append([get_spatial(name)(DecodedImage(image), seed, preprocessing).numpy() for seed in SEEDS])
    np.testing.assert_array_equal(*results)
    different = len({result.tobytes() for result in results[0]})
    assert different == 1 if name == "none" else different > len(SEEDS) // 3
    assert all(result.min() >= 0 and result.max() <= 255 for result in results[0])


def test_none_is_the_evaluation_image():
    preprocessing = Preprocessing((16, 16), 3, 0.0, 1.0, crop_fraction=0.8)
    image = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        get_spatial("none")(DecodedImage(image), SEEDS[0], preprocessing), preprocessing.evaluation_image(image)
    )


def test_pad_crop_shifts_by_up_to_an_eighth_and_reflects():
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 1), dtype=np.uint8)
    padded = np.pad(image, ((2, 2), (3, 3), (0, 0)), mode="reflect")
    windows = {padded[y : y + 16, x : x + 24].tobytes(): (y, x) for y in range(5) for x in range(7)}
    preprocessing = Preprocessing((16, 24), 1, 0.0, 1.0)
    results = [get_spatial("pad_crop")(DecodedImage(image), (seed, 0), preprocessing) for seed in range(200)]
    shifts = [windows[result.numpy().astype(np.uint8).tobytes()] for result in results]
    assert {y for y, _ in shifts} == set(range(5))
    assert {x for _, x in shifts} == set(range(7))


def test_inception_crops_a_window_of_the_stated_area_and_ratio_and_flips():
    height, width = 200, 300
    slope = 0.6
    preprocessing = Preprocessing((32, 32), 1, 0.0, 1.0, "bilinear")
    flips = 0
    areas = []
    for seed in SEEDS:
        vertical = get_spatial("inception")(DecodedImage(_ramp(height, width, slope, 0)), seed, preprocessing)[
            ..., 0
        ].numpy()
        horizontal = get_spatial("inception")(DecodedImage(_ramp(height, width, 0, slope)), seed, preprocessing)[
            ..., 0
        ].numpy()
        # Away from the border, where the filter is cut off, a resized ramp has the slope of its crop.
        row_step = (vertical[24, 16] - vertical[8, 16]) / 16
        column_step = (horizontal[16, 24] - horizontal[16, 8]) / 16
        flips += column_step < 0
        crop_height, crop_width = 32 * row_step / slope, 32 * abs(column_step) / slope
        areas.append(crop_height * crop_width / (height * width))
        assert 3 / 4 * 0.97 < crop_width / crop_height < 4 / 3 * 1.03
        assert vertical.min() >= 0 and vertical.max() <= (height - 1) * slope + 1e-3
        assert horizontal.min() >= 0 and horizontal.max() <= (width - 1) * slope + 1e-3
    assert 0.078 < min(areas) < 0.2
    assert 0.6 < max(areas) < 0.9  # 4:3 leaves out a ninth of a 3:2 image
    assert 10 <= flips <= 30


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("policy", "autoaugmnet", r"unknown augmentation policy 'autoaugmnet'\. Did you mean 'autoaugment'"),
        ("policy_layers", 0, "`policy_layers` must be at least 1. Received: policy_layers=0"),
        ("policy_magnitude", 10.5, r"`policy_magnitude` must be in \[0, 10\]. Received: policy_magnitude=10.5"),
        ("random_erasing", 1.5, r"`random_erasing` must be in \[0, 1\]. Received: random_erasing=1.5"),
        ("mixup_alpha", -0.1, r"`mixup_alpha` must be at least 0. Received: mixup_alpha=-0.1"),
        ("cutmix_alpha", float("nan"), "`cutmix_alpha` must be at least 0. Received: cutmix_alpha=nan"),
    ],
)
def test_a_wrong_option(field, value, message):
    with pytest.raises(UserError, match=message):
        AugmentationOptions(**{field: value})


def test_every_recipe_has_the_options():
    for recipe in TASK.recipes.values():
        options = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(AugmentationOptions)}
        assert AugmentationOptions(**options).mixes == bool(recipe.mixup_alpha or recipe.cutmix_alpha)


def test_the_steps_follow_each_other():
    """Spatial transform, policy in 0..255, scaling, erasing with noise of the scaled image."""
    preprocessing = Preprocessing((16, 24), 3, 127.0, 128.0)
    image = DecodedImage(tf.constant(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)))
    base = AugmentationOptions("inception", policy="randaugment", policy_magnitude=4.0)
    plain, policy, erasing = (
        functools.partial(make_augmentation(options, preprocessing), image)
        for options in (AugmentationOptions("inception"), base, dataclasses.replace(base, random_erasing=1.0))
    )
    changed = []
    for seed in map(tf.constant, SEEDS[:10]):
        expected = (get_spatial("inception")(image, seed, preprocessing) - 127) / 128
        np.testing.assert_allclose(plain(seed), expected, atol=1e-5)
        pixels = policy(seed).numpy() * 128 + 127
        np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-3)  # of a uint8 image
        erased = erasing(seed).numpy()
        noise = (erased != policy(seed).numpy()).all(axis=-1)
        assert 0.01 < noise.mean() < 0.4
        np.testing.assert_array_equal(erased[~noise], policy(seed).numpy()[~noise])
        assert 0.5 < erased[noise].std() < 1.5
        changed.append(np.abs(pixels - (plain(seed).numpy() * 128 + 127)).max() > 1)
    assert sum(changed) > 4
