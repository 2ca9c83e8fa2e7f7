"""The default boxes (anchors) of SSD with a MobileNetV1 backbone.

Source: Liu et al., "SSD: Single Shot MultiBox Detector", arXiv 1512.02325, section 2.2, with the scales and the reduced
first map of `create_ssd_anchors` (multiple_grid_anchor_generator.py of the TensorFlow Object Detection API).
"""

import math

import numpy as np

_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)  # of the shorter side of the image, one per map
_ASPECT_RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)  # width to height
_FIRST_MAP = ((0.1, 1.0), (0.2, 2.0), (0.2, 1 / 2))  # (scale, aspect ratio)

ANCHORS_PER_LOCATION = (len(_FIRST_MAP), *(len(_ASPECT_RATIOS) + 1,) * (len(_SCALES) - 1))


def feature_map_sizes(input_size):
    """Returns the sizes of the six feature maps as a list of (height, width), the finest first.

    The first two have the strides 16 and 32, each further one half the size of the one before, all rounded up.

    Args:
        input_size: (height, width) of the network's images in pixels.
    """
    sizes = [tuple(math.ceil(side / stride) for side in input_size) for stride in (16, 32)]
    while len(sizes) < len(_SCALES):
        sizes.append(tuple(math.ceil(side / 2) for side in sizes[-1]))
    return sizes


def ssd_anchors(input_size):
    """Returns the anchors as boxes, float32 [anchors, 4]; 1,917 for 300x300.

    They come map by map, the finest first, row by row over a map's locations, then one after the other at a location:
    the aspect ratios 1, 2, 1/2, 3, 1/3 at the map's scale and ratio 1 at the geometric mean of it and the next map's
    (1 after the last); at the first map (0.1, ratio 1), (0.2, ratio 2) and (0.2, ratio 1/2) only. The center of an
    anchor is that of its location; a scale is a fraction of the image's shorter side, so that ratio 1 is a square of
    pixels. They are not clipped to the image.

    Args:
        input_size: (height, width) of the network's images in pixels.
    """
    maps = zip(feature_map_sizes(input_size), _shapes_by_map(), strict=True)
    return np.concatenate([_map_anchors(size, shapes, input_size) for size, shapes in maps])


def _shapes_by_map():
    """The (scale, aspect ratio) of the anchors at a location, map by map."""
    following = (*_SCALES[1:], 1.0)
    shapes = [
        tuple((scale, ratio) for ratio in _ASPECT_RATIOS) + ((math.sqrt(scale * larger), 1.0),)
        for scale, larger in zip(_SCALES, following, strict=True)
    ]
    return [_FIRST_MAP, *shapes[1:]]


def _map_anchors(map_size, shapes, input_size):
    rows, columns = map_size
    scales, ratios = np.array(shapes).T
    # [anchors of a location, 2]: height and width as fractions of the image.
    sizes = np.stack([scales / np.sqrt(ratios), scales * np.sqrt(ratios)], axis=-1)
    sizes = sizes * min(input_size) / np.array(input_size)
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    centers = np.stack([y, x], axis=-1).reshape(-1, 1, 2)
    boxes = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=-1)
    return boxes.reshape(-1, 4).astype(np.float32)
