import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras.data import Preprocessing

FIELDS = {"input_size": (4, 6), "channels": 3, "mean": 127.0, "std": 128.0}


def _noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_round_trip_through_json():
    for apply_orientation in (True, False):
        preprocessing = Preprocessing(**FIELDS, interpolation="bilinear", apply_orientation=apply_orientation)
        assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing
    assert Preprocessing(**FIELDS).apply_orientation


def test_what_0_1_stored_is_read():
    fields = {"input_size": [4, 6], "channels": 3, "offset": [1.0, 2.0, 3.0], "scale": 128.0}
    fields |= {"interpolation": "bilinear", "crop_fraction": 0.875}
    received = Preprocessing.from_dict(fields)
    # It left images as they were stored.
    expected = Preprocessing((4, 6), 3, (1, 2, 3), 128, "bilinear", crop_fraction=0.875, apply_orientation=False)
    assert received == expected
    assert received.to_dict() == {
        "input_size": [4, 6],
        "channels": 3,
        "mean": [1.0, 2.0, 3.0],
        "std": 128.0,
        "interpolation": "bilinear",
        "crop_fraction": 0.875,
        "apply_orientation": False,
    }


@pytest.mark.parametrize("fields", [{}, {**FIELDS, "interpolation": "bicubic", "crop_fraction": 1.0, "gamma": 0}])
def test_from_dict_refuses_other_fields(fields):
    with pytest.raises(ValueError, match="expected the fields"):
        Preprocessing.from_dict(fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_size", (4,)),
        ("input_size", (0, 4)),
        ("input_size", (4.5, 4)),
        ("channels", 4),
        ("mean", float("nan")),
        ("std", 0),
        ("mean", (1.0, 2.0)),
        ("std", (1.0, 2.0, 0.0)),
        ("mean", (1.0, 2.0, float("inf"))),
        ("interpolation", "nearest"),
        ("crop_fraction", 0.0),
        ("crop_fraction", 1.1),
        ("apply_orientation", 1),
    ],
)
def test_fields_are_checked(field, value):
    with pytest.raises(ValueError, match=f"`{field}`"):
        Preprocessing(**{**FIELDS, field: value})


def test_scale_images():
    scaled = Preprocessing(**FIELDS).scale_images(np.array([0, 127, 255], np.uint8))
    assert scaled.dtype == tf.float32
    np.testing.assert_allclose(scaled, [-127 / 128, 0, 1])


def test_scaling_per_channel_survives_json():
    fields = {**FIELDS, "mean": (10.0, 20.0, 30.0), "std": (1.0, 2.0, 5.0)}
    preprocessing = Preprocessing.from_dict(json.loads(json.dumps(Preprocessing(**fields).to_dict())))
    assert preprocessing == Preprocessing(**fields)
    scaled = preprocessing.scale_images(np.full((2, 1, 1, 3), 40.0))
    np.testing.assert_allclose(scaled, np.broadcast_to([30, 10, 2], (2, 1, 1, 3)))


def test_an_image_of_the_input_size_keeps_its_values():
    image = _noise(4, 6, 3)
    result = Preprocessing(**FIELDS).evaluation_image(image)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, image)


def test_gray_becomes_color_by_repetition():
    image = _noise(4, 6, 1)
    np.testing.assert_array_equal(Preprocessing(**FIELDS).evaluation_image(image), np.repeat(image, 3, axis=-1))


def test_color_becomes_gray_by_luma():
    image = _noise(4, 6, 3)
    result = Preprocessing(**{**FIELDS, "channels": 1}).evaluation_image(image)
    np.testing.assert_allclose(result[..., 0], image @ [0.299, 0.587, 0.114], atol=0.1)  # TensorFlow rounds 0.2989


def test_four_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        Preprocessing(**FIELDS).evaluation_image(_noise(4, 6, 4))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.875])
@pytest.mark.parametrize("size", [(40, 64), (64, 33), (16, 16), (7, 9)])
def test_center_crop_and_resize_agree_with_pil(interpolation, crop_fraction, size):
    preprocessing = Preprocessing((16, 16), 3, 0.0, 1.0, interpolation, crop_fraction)
    image = _noise(*size, 3)
    height, width = size
    crop = int(crop_fraction * min(size))
    top, left = (height - crop + 1) // 2, (width - crop + 1) // 2
    box = (0, 0, width, height) if crop_fraction == 1 else (left, top, left + crop, top + crop)
    resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[interpolation]
    # One float channel at a time: on 8-bit images PIL rounds and clips between its two passes.
    channels = [
        Image.fromarray(image[..., c].astype(np.float32)).crop(box).resize((16, 16), resample) for c in range(3)
    ]
    expected = np.clip(np.stack(channels, axis=-1), 0, 255)
    np.testing.assert_allclose(preprocessing.evaluation_image(image), expected, atol=0.01)


def test_center_crop_takes_the_input_s_aspect_ratio():
    image = _noise(40, 40, 3)
    result = Preprocessing((10, 20), 3, 0.0, 1.0, "bilinear", 0.5).evaluation_image(image)
    # The largest 1:2 box of a 40x40 image is 20x40, half of it 10x20: the input size, so pixels are kept.
    np.testing.assert_allclose(result, image[15:25, 10:30], atol=1e-3)


def test_bicubic_overshoot_is_clipped():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    result = Preprocessing((32, 32), 3, 0.0, 1.0).evaluation_image(image).numpy()
    assert (result.min(), result.max()) == (0.0, 255.0)
    assert 0 < result[0, 15, 0] < result[0, 16, 0] < 255


def test_graph_of_unknown_size_agrees_with_eager():
    preprocessing = Preprocessing((8, 12), 3, 0.0, 1.0, crop_fraction=0.9)
    image = _noise(31, 20, 3)
    signature = tf.TensorSpec([None, None, 3], tf.uint8)
    traced = tf.function(preprocessing.evaluation_image, input_signature=[signature])
    assert traced.get_concrete_function().output_shapes == (8, 12, 3)
    np.testing.assert_allclose(traced(image), preprocessing.evaluation_image(image), atol=1e-4)
