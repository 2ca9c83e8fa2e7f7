import numpy as np
import pytest

from condconv_keras.routing_statistics.examples import ExampleImages

IMAGES = 20


@pytest.mark.parametrize("batch_size", [1, 7, IMAGES])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_image_of_the_highest_weight_is_kept(batch_size, channels):
    rng = np.random.default_rng(0)
    weights = rng.random((IMAGES, 3)).astype(np.float32)
    presence = rng.random((IMAGES, 4)) < 0.3
    presence[:, 2] = False
    images = np.broadcast_to(10.0 * np.arange(IMAGES)[:, None, None, None], (IMAGES, 8, 6, channels))
    examples = ExampleImages(3, 4, (8, 6, channels))
    for start in range(0, IMAGES, batch_size):
        rows = slice(start, start + batch_size)
        examples.add(images[rows].astype(np.float32), weights[rows], presence[rows])
    assert examples.thumbnails.shape == (4, 3, 8, 6, channels)
    for c in (0, 1, 3):
        of_class = np.flatnonzero(presence[:, c])
        for expert in range(3):
            best = of_class[weights[of_class, expert].argmax()]
            assert (examples.thumbnails[c, expert] == 10 * best).all()
            assert examples.weights[c, expert] == weights[best, expert]
    assert not examples.thumbnails[2].any() and np.isneginf(examples.weights[2]).all()


def test_of_equal_weights_the_first_image_is_kept():
    images = np.full((2, 4, 4, 1), 9.0, np.float32)
    images[1] = 200
    examples = ExampleImages(1, 1, (4, 4, 1))
    examples.add(images, np.full((2, 1), 0.5), np.ones((2, 1), bool))
    examples.add(images[1:], np.full((1, 1), 0.5), np.ones((1, 1), bool))
    assert (examples.thumbnails == 9).all()


def test_a_large_image_is_made_small_in_its_shape():
    image = np.zeros((1, 128, 256, 3), np.float32)
    image[:, :, 128:, 0] = 260.0  # the right half red, brighter than can be
    examples = ExampleImages(1, 1, (128, 256, 3))
    examples.add(image, np.ones((1, 1)), np.ones((1, 1), bool))
    small = examples.thumbnails[0, 0]
    assert small.shape == (32, 64, 3)
    assert (small[:, :30] == 0).all() and (small[:, 34:, 0] == 255).all() and (small[:, 34:, 1:] == 0).all()


def test_the_memory_is_bounded():
    assert ExampleImages(4, 10, (224, 224, 3)).thumbnails.shape[2:] == (64, 64, 3)
    many = ExampleImages(32, 1000, (224, 224, 3)).thumbnails
    assert 2**26 < many.nbytes <= 2**27
    assert many.shape[2] == many.shape[3] < 64
    assert ExampleImages(32, 20_000, (224, 224, 3)).thumbnails.shape[2:] == (16, 16, 3)
