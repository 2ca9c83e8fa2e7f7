"""Random canvases: parts of scikit-learn's two sample photographs, smooth noise and color gradients."""

import functools

import numpy as np

from condconv_keras.utils.lazy import LazyModule

Image = LazyModule("PIL.Image")
sklearn_datasets = LazyModule("sklearn.datasets")

CHANNELS = 3
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
MIN_PART = 80  # pixels of a photograph, enlarged to the canvas


def random_texture(size, random):
    """Returns a canvas, float32 `[size, size, 3]` in 0..255.

    Half of the canvases are parts of photographs, three of ten smooth noise, the others gradients.

    Args:
        size: int, pixels.
        random: `numpy.random.Generator`, which alone decides.
    """
    kind = random.uniform()
    if kind < 0.5:
        texture = _part_of_photograph(size, random)
    elif kind < 0.8:
        texture = _two_grids(size, random, (3, 8), (20, 80), share=0.3)
    else:
        texture = _two_grids(size, random, (2, 3), (40, 100), share=0.2)
    return np.array(texture, np.float32)


@functools.cache
def _photographs():
    return [Image.fromarray(sklearn_datasets.load_sample_image(name)) for name in PHOTOGRAPHS]


def _part_of_photograph(size, random):
    photograph = _photographs()[random.integers(len(PHOTOGRAPHS))]
    side = int(random.integers(MIN_PART, min(photograph.size) + 1))
    left, top = (int(random.integers(length - side + 1)) for length in photograph.size)
    return _resize(photograph, size, (left, top, left + side, top + side))


def _two_grids(size, random, coarse, fine, share):
    """Returns a coarse smooth noise with a share of a fine one in it."""
    return Image.blend(_smooth_noise(size, random, *coarse), _smooth_noise(size, random, *fine), share)


def _smooth_noise(size, random, fewest, most):
    """Returns random colors on a coarse grid, interpolated; two by two is a gradient."""
    cells = int(random.integers(fewest, most + 1))
    return _resize(Image.fromarray(random.integers(0, 256, (cells, cells, CHANNELS), dtype=np.uint8)), size)


def _resize(image, size, box=None):
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)
