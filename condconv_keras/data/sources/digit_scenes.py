"""The embedded detection data set: scenes of handwritten digits on textured canvases, 300x300 RGB, made when read.

The digits are scikit-learn's (`condconv_keras.data.sources.digits`), their 8x8 pixels enlarged with smooth edges.
"""

import dataclasses
import functools

import numpy as np

from condconv_keras.data.dataset import slice_records
from condconv_keras.data.detection_dataset import DetectionDataset
from condconv_keras.data.sources.digits import digit_splits
from condconv_keras.data.sources.textures import random_texture
from condconv_keras.utils.lazy import LazyModule, require
from condconv_keras.utils.lazy import tensorflow as tf

Image = LazyModule("PIL.Image")

SIZE = 300
CHANNELS = 3
SPLITS = {"train": 10000, "validation": 200}
DIGITS_OF = {"train": "train", "validation": "test"}  # the split of the digits that a split's scenes are made of
MAX_DIGITS = 5
HEIGHTS = (60, 160)  # pixels of a digit before its edges are smoothed
STRETCH = (0.85, 1.25)  # of a digit's width
MAX_OVERLAP = 0.1  # part of the smaller of two boxes
PLACING_TRIES = 20
INK_EDGES = (0.25, 0.45)  # what is darker than the first is ink, from the second on it covers
CONTRAST = (80, 150)  # between ink and what is below, in 0..255
EITHER_INK = (64, 192)  # what is below may get darker or lighter ink where it is in between, in 0..255
NOISE = 6  # of every pixel, up and down


@dataclasses.dataclass(frozen=True)
class PlacedDigit:
    """One digit of a scene.

    Attributes:
        digit: 0 to 9.
        top, left: pixels of the upper left corner of its ink.
        ink: float32 `[height, width]` in [0, 1], how far the ink covers; no margin is free of ink.
        ink_seed: int, of its color.
    """

    digit: int
    top: int
    left: int
    ink: np.ndarray
    ink_seed: int

    @property
    def box(self):
        """(ymin, xmin, ymax, xmax) in pixels, the ends exclusive."""
        height, width = self.ink.shape
        return self.top, self.left, self.top + height, self.left + width


class DigitScenes(DetectionDataset):
    """The scenes: 10,000 for training and 200 for validation.

    Scene `i` of a split is always the same. It has 1 to 5 digits, about 60 to 160 pixels high, that cover each other
    little. Each box is the tight one around the ink. The digits of the validation scenes are those of the test split
    of the data set `digits`: no training scene has one of them. The image id of a scene is its number.
    """

    embedded_name = "digit_scenes"
    made_by_this_process = True
    seed_permutes_all = True

    def __init__(self, request):
        # A scene is made inside TensorFlow, which raises another error for a package that is missing.
        require("sklearn", "PIL")
        super().__init__(
            name=request.name,
            class_names=map(str, range(10)),
            image_shape=(SIZE, SIZE, CHANNELS),
            splits=dict(SPLITS),
        )

    def read_records(self, split, shuffle_seed):
        scene = functools.partial(_scene, split)
        label_types = {"boxes": tf.float32, "classes": tf.int32, "is_crowd": tf.bool, "area": tf.float32}
        shapes = {"boxes": [None, 4], "classes": [None], "is_crowd": [None], "area": [None]}

        def example(index, image_id):
            image, *values = tf.numpy_function(scene, [index], [tf.uint8, *label_types.values()], stateful=False)
            label = {key: tf.ensure_shape(value, shapes[key]) for key, value in zip(label_types, values, strict=True)}
            return tf.ensure_shape(image, (SIZE, SIZE, CHANNELS)), label | {"image_id": image_id}

        indices = np.arange(SPLITS[split])
        return slice_records(indices, indices, shuffle_seed).map(example, tf.data.AUTOTUNE)


def scene_digits(split, index, digits=None):
    """Returns the list of `PlacedDigit` of a scene, the lower ones first.

    Args:
        split: `"train"` or `"validation"`.
        index: int, of the scene.
        digits: pair of images and labels to choose from, as of `digit_splits`; None for those of the split.
    """
    images, labels = digits or _digits()[DIGITS_OF[split]]
    random = _generator(split, index, 0)
    placed = []
    for _ in range(random.integers(1, MAX_DIGITS + 1)):
        chosen = random.integers(len(labels))
        ink = _enlarge(images[chosen, ..., 0], random)
        corner = _free_place(ink.shape, [other.box for other in placed], random)
        if corner is not None:
            placed.append(PlacedDigit(int(labels[chosen]), *corner, ink, int(random.integers(2**31))))
    return placed


def render(split, index, digits):
    """Paints digits on the canvas of a scene.

    Args:
        split: `"train"` or `"validation"`.
        index: int, of the scene.
        digits: list of `PlacedDigit`.

    Returns:
        uint8 `[300, 300, 3]`.
    """
    random = _generator(split, index, 1)
    canvas = random_texture(SIZE, random)
    for digit in digits:
        top, left, bottom, right = digit.box
        below = canvas[top:bottom, left:right]
        alpha = digit.ink[..., np.newaxis]
        below += alpha * (_ink_color(below.mean(), digit.ink_seed) - below)
    canvas += random.integers(-NOISE, NOISE + 1, canvas.shape, dtype=np.int8)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _scene(split, index):
    """Returns the image of a scene and the boxes, classes, crowd flags and areas of its digits, as NumPy arrays."""
    digits = scene_digits(split, index)
    boxes = np.array([digit.box for digit in digits], np.float32)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    classes = np.array([digit.digit for digit in digits], np.int32)
    return render(split, index, digits), boxes / SIZE, classes, np.zeros(len(digits), bool), area


@functools.cache
def _digits():
    return digit_splits()


def _generator(split, index, purpose):
    return np.random.default_rng([list(SPLITS).index(split), int(index), purpose])


def _enlarge(image, random):
    """Returns the ink of a digit `[8, 8]` at a random size without the margin around it."""
    cropped = _trim(image)
    height = round(np.exp(random.uniform(*np.log(HEIGHTS))))
    width = max(round(height * cropped.shape[1] / cropped.shape[0] * random.uniform(*STRETCH)), 4)
    # One pixel of margin lets the strokes at the border end as smoothly as the others.
    padded = Image.fromarray(np.pad(cropped, 1))
    scale = height / cropped.shape[0], width / cropped.shape[1]
    size = round(padded.width * scale[1]), round(padded.height * scale[0])
    darkness = np.asarray(padded.resize(size, Image.Resampling.BICUBIC), np.float32) / 255
    first, last = INK_EDGES
    return _trim(np.clip((darkness - first) / (last - first), 0, 1))


def _trim(image):
    """Cuts the rows and columns without ink off the borders."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _free_place(shape, boxes, random):
    """Returns the (top, left) of a place where a digit covers the others little, None if none is found."""
    for _ in range(PLACING_TRIES):
        top, left = (int(random.integers(SIZE - side + 1)) for side in shape)
        box = top, left, top + shape[0], left + shape[1]
        if all(_overlap(box, other) <= MAX_OVERLAP for other in boxes):
            return top, left
    return None


def _overlap(a, b):
    """The intersection of two boxes as a part of the smaller one."""
    height, width = (min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]) for axis in (0, 1))
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(height, 0) * max(width, 0) / smaller


def _ink_color(brightness, seed):
    """Returns a color `[3]` that is darker or lighter than what it is painted on."""
    random = np.random.default_rng(seed)
    contrast = random.uniform(*CONTRAST)
    darker = random.uniform(*EITHER_INK) < brightness
    gray = brightness - contrast if darker else brightness + contrast
    return np.clip(gray + random.uniform(-40, 40, CHANNELS), 0, 255).astype(np.float32)
