import json
import math

import numpy as np
import pytest

from condconv_keras.facts.anchors import SSD_MOBILENET_V1, AnchorScheme


@pytest.mark.parametrize(
    ("input_size", "sizes", "count"),
    [
        ((300, 300), [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)], 1917),
        ((96, 96), [(6, 6), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)], 204),
        ((320, 320), [(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)], 2034),
        ((200, 320), [(13, 20), (7, 10), (4, 5), (2, 3), (1, 2), (1, 1)], 1374),
    ],
)
def test_the_maps_and_the_number_of_anchors(input_size, sizes, count):
    assert SSD_MOBILENET_V1.map_sizes(input_size) == sizes
    anchors = SSD_MOBILENET_V1.boxes(input_size)
    assert anchors.shape == (count, 4) and anchors.dtype == np.float32
    assert sum(h * w * n for (h, w), n in zip(sizes, SSD_MOBILENET_V1.per_location, strict=True)) == count


def _center_and_size(boxes):
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def test_anchors_of_the_first_map():
    anchors = _center_and_size(SSD_MOBILENET_V1.boxes((300, 300)))
    # One location is 1/19 wide. (y, x, height, width); 0.2 at ratio 2 is 0.1414 high and 0.2828 wide.
    shapes = [(0.1, 0.1), (0.14142, 0.28284), (0.28284, 0.14142)]
    for row, column in [(0, 0), (0, 1), (1, 0), (18, 18)]:
        start = 3 * (19 * row + column)
        expected = [((row + 0.5) / 19, (column + 0.5) / 19, *shape) for shape in shapes]
        np.testing.assert_allclose(anchors[start : start + 3], expected, atol=1e-5)


def test_anchors_of_the_second_and_the_last_map():
    anchors = _center_and_size(SSD_MOBILENET_V1.boxes((300, 300)))
    second = [  # 0.35; sqrt(2) = 1.41421, sqrt(3) = 1.73205, sqrt(0.35 * 0.5) = 0.41833
        (0.35, 0.35),
        (0.24749, 0.49497),
        (0.49497, 0.24749),
        (0.20207, 0.60622),
        (0.60622, 0.20207),
        (0.41833, 0.41833),
    ]
    np.testing.assert_allclose(anchors[1083:1089], [(0.05, 0.05, *shape) for shape in second], atol=1e-5)
    last = [  # 0.95; sqrt(0.95 * 1) = 0.97468
        (0.95, 0.95),
        (0.67175, 1.34350),
        (1.34350, 0.67175),
        (0.54848, 1.64545),
        (1.64545, 0.54848),
        (0.97468, 0.97468),
    ]
    np.testing.assert_allclose(anchors[1911:], [(0.5, 0.5, *shape) for shape in last], atol=1e-5)


def test_ratio_one_is_a_square_of_pixels_of_the_shorter_side():
    anchors = SSD_MOBILENET_V1.boxes((200, 400))
    np.testing.assert_allclose(
        anchors[0], (0.5 / 13 - 0.05, 0.5 / 25 - 0.025, 0.5 / 13 + 0.05, 0.5 / 25 + 0.025), atol=1e-6
    )
    np.testing.assert_allclose(anchors[-1], (0.5 - 0.48734, 0.5 - 0.24367, 0.5 + 0.48734, 0.5 + 0.24367), atol=1e-5)


def test_a_scheme_of_ones_own_survives_a_card():
    scheme = AnchorScheme((8, 16), (0.1, 0.2, 0.4), (1.0, 2.0), ((0.05, 1.0),))
    assert scheme.per_location == (1, 3, 3)
    assert scheme.map_sizes((64, 32)) == [(8, 4), (4, 2), (2, 1)]
    assert len(scheme.boxes((64, 32))) == 32 + 3 * 8 + 3 * 2
    assert AnchorScheme.from_dict(json.loads(json.dumps(scheme.to_dict()))) == scheme


@pytest.mark.parametrize(
    "fields",
    [
        {"strides": [-16, 32]},
        {"strides": []},
        {"scales": [0.1, math.nan]},
        {"scales": [0.1]},
        {"aspect_ratios": ["1"]},
        {"first_map": [[0.1, 0.0]]},
        {"first_map": [[0.1]]},
        {"ratios": [1.0]},
        {"scales": 0.1},
    ],
)
def test_what_is_no_scheme_is_refused(fields):
    with pytest.raises((TypeError, ValueError)):
        AnchorScheme.from_dict({**SSD_MOBILENET_V1.to_dict(), **fields})
