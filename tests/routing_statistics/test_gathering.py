import numpy as np
import pytest

from condconv_keras.data import evaluation_batches, open_dataset, open_detection_dataset
from condconv_keras.facts.model_card import DetectorCard, ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.routing_statistics import gathering
from tests.data.detection_folders import labels_by_id, write_squares


class _Brightness:
    """Stands for a routing model: two layers whose weights are the mean of parts of an image."""

    layers = (("whole", 1), ("halves", 2))

    def __call__(self, images):
        images = np.asarray(images) / 255
        middle = images.shape[1] // 2
        halves = [images[:, :middle].mean(axis=(1, 2, 3)), images[:, middle:].mean(axis=(1, 2, 3))]
        return [images.mean(axis=(1, 2, 3))[:, None], np.stack(halves, axis=1)]


@pytest.mark.parametrize("batch_size", [50, 400])
def test_a_split_of_a_classifier(batch_size):
    dataset = open_dataset("digits")
    preprocessing = Preprocessing(input_size=(8, 8), channels=1, mean=0.0, std=1.0)
    card = ModelCard("model", dataset.class_names, preprocessing)
    statistics, examples = gathering.gather(_Brightness(), card, dataset, "test", batch_size, example_layer=1)
    ((images, labels),) = evaluation_batches(dataset, "test", preprocessing, 1000, scaled=False)
    labels, stored = labels.numpy(), _Brightness()(images)
    assert statistics.images == len(labels) == 360
    for layer, weights in zip(statistics.layers(), stored, strict=True):
        expected = [weights[labels == i].astype(np.float64).mean(axis=0) for i in range(10)]
        np.testing.assert_allclose(layer.mean, expected, rtol=1e-6)
    best = np.where(labels == 4, stored[1][:, 1], -1).argmax()
    np.testing.assert_array_equal(examples.thumbnails[4, 1], np.round(images[best].numpy()))


@pytest.mark.parametrize("every", [7, 200])
def test_every_so_many_images_of_a_split(every):
    dataset = open_dataset("digits")
    preprocessing = Preprocessing(input_size=(8, 8), channels=1, mean=0.0, std=1.0)
    ((images, labels),) = evaluation_batches(dataset, "test", preprocessing, 1000, scaled=False)
    batches = list(gathering.presence_batches(ModelCard.task, dataset, "test", preprocessing, 16, every))
    np.testing.assert_array_equal(np.concatenate([batch for batch, _ in batches]), images[::every])
    np.testing.assert_array_equal(
        np.concatenate([presence for _, presence in batches]), np.eye(10, dtype=bool)[labels[::every]]
    )


def test_every_other_image_of_a_detector(tmp_path):
    write_squares(tmp_path, train=1, val=5)
    dataset = open_detection_dataset(tmp_path)
    preprocessing = Preprocessing(input_size=(96, 96), channels=3, mean=0.0, std=1.0)
    every = [
        [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
        for batches in (
            gathering.presence_batches(DetectorCard.task, dataset, "val", preprocessing, 4, step) for step in (1, 2)
        )
    ]
    for all_of_them, some in zip(*every, strict=True):
        assert len(all_of_them) == 5
        np.testing.assert_array_equal(some, all_of_them[::2])


def test_a_split_of_a_detector(tmp_path):
    write_squares(tmp_path, train=1, val=6)
    dataset = open_detection_dataset(tmp_path)
    preprocessing = Preprocessing(input_size=(96, 96), channels=3, mean=0.0, std=1.0)
    card = DetectorCard("model", dataset.class_names, preprocessing)
    statistics, _ = gathering.gather(_Brightness(), card, dataset, "val", 4, example_layer=0)
    layer, _ = statistics.layers()
    labels = labels_by_id(dataset, "val")
    classes = np.array([label["classes"][0] for _, label in labels.values()])
    weights = np.array([preprocessing.evaluation_image(x).numpy().mean() / 255 for x, _ in labels.values()])
    np.testing.assert_array_equal(layer.class_count, np.bincount(classes, minlength=2))
    for i in np.unique(classes):
        np.testing.assert_allclose(layer.mean[i], weights[classes == i].mean(), rtol=1e-5)
