"""Compares exported files with the Keras model that they came from, on real images."""

import dataclasses

import numpy as np

from condconv_keras.predictors import keras_predict, open_predictor

# Largest difference of a probability that float32 rounding explains, many times over.
TOLERANCE = 1e-4
NUM_IMAGES = 16


@dataclasses.dataclass(frozen=True)
class Check:
    """What a comparison found.

    Attributes:
        name: of the file.
        images: number of images, all through one loaded file, one after the other.
        max_difference: largest absolute difference of a probability.
        same_class: number of images with the same most probable class.
    """

    name: str
    images: int
    max_difference: float
    same_class: int

    @property
    def passed(self):
        """Whether the file computes what the Keras model computes."""
        return self.max_difference <= TOLERANCE and self.same_class == self.images

    def __str__(self):
        return (
            f"{self.name}: largest difference of a probability {self.max_difference:.1e} (at most {TOLERANCE:.0e}), "
            f"same class for {self.same_class} of {self.images} images"
        )


def check(path, model, card, images):
    """Runs an exported file and the Keras model on the same images.

    Args:
        path: SavedModel or `.tflite` file, as its user gets it.
        model: Keras classifier.
        card: its `ModelCard`.
        images: float32 [count, height, width, channels] in 0..255, at least two that differ: a file that keeps the
            first image's kernels (a known bug of converters) fails on the second.

    Returns:
        `Check`.
    """
    expected = keras_predict(model, card)(images)
    received = open_predictor(path).predict(images)
    difference = np.abs(received - expected).max()
    return Check(
        path.name,
        len(images),
        # A comparison with NaN is false: a file that computes NaN must not pass.
        float("inf") if np.isnan(difference) else float(difference),
        int((received.argmax(-1) == expected.argmax(-1)).sum()),
    )


def check_images(dataset, preprocessing):
    """Returns real images ready for the model, float32 [count, height, width, channels] in 0..255.

    Args:
        dataset: an `ImageDataset`, its held-out images are taken; with None, or a single image, patches of the two
            photographs that scikit-learn ships.
        preprocessing: `Preprocessing`.
    """
    images = []
    if dataset is not None:
        images = [image for image, _ in dataset.examples(dataset.evaluation_split).take(NUM_IMAGES)]
    if len(images) < 2:
        images += _photograph_patches()
    return np.stack([preprocessing.evaluation_image(image) for image in images])


def _photograph_patches():
    from sklearn.datasets import load_sample_images

    for photograph in load_sample_images().images:
        height, width = (side // 4 for side in photograph.shape[:2])
        for i in range(NUM_IMAGES // 4):
            for j in range(2):
                yield photograph[i * height : (i + 1) * height, j * 2 * width : (j * 2 + 2) * width]
