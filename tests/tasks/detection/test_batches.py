"""Batches of images with boxes: what is matched, what is padded, what a shard sees."""

import numpy as np
import pytest

from condconv_keras.data import InputShard, Preprocessing, open_detection_dataset
from condconv_keras.data.input.streams import InputPosition
from condconv_keras.facts.anchors import SSD_MOBILENET_V1
from condconv_keras.facts.model_card import DetectorCard
from condconv_keras.tasks.detection import decode_boxes
from condconv_keras.tasks.detection.batches import evaluation_detection_batches, training_detection_batches, unpadded
from tests.data.detection_folders import coco_box, coco_image, labels_by_id, save_image, write_coco

SIZE = (96, 96)
PREPROCESSING = Preprocessing(SIZE, 3, 127.5, 127.5, "bilinear")
CARD = DetectorCard("model", ("a", "b"), PREPROCESSING)
COUNT = 7


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Seven images: image i has i boxes, the last one of them a crowd."""
    folder = tmp_path_factory.mktemp("coco")
    annotations = []
    for i in range(COUNT):
        save_image(folder / "train" / f"{i}.png", seed=i)
        for box in range(i):
            crowd = {"iscrowd": 1} if box == 6 - 1 else {}
            annotations.append(coco_box(i, [3 * box, 2 * box, 10, 8], (3, 7)[box % 2], area=12 + box, **crowd))
    write_coco(folder / "train" / "instances.json", [coco_image(i) for i in range(COUNT)], annotations)
    save_image(folder / "val" / "9.png", seed=9)
    write_coco(folder / "val" / "instances.json", [coco_image(9)], [])
    return open_detection_dataset(str(folder))


def as_numpy(truth):
    return {name: np.asarray(value) for name, value in truth.items()}


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_every_image_once_with_its_boxes(dataset, batch_size):
    labels = labels_by_id(dataset, "train")
    seen = []
    for images, truth in evaluation_detection_batches(dataset, "train", PREPROCESSING, batch_size):
        entries, rows = unpadded(as_numpy(truth))
        assert list(rows) == list(range(len(images)))
        for image, entry in zip(np.asarray(images), entries, strict=True):
            stored, label = labels[int(entry["image_id"])]
            np.testing.assert_array_equal(image, PREPROCESSING.evaluation_image(stored))
            for name in ("boxes", "classes", "is_crowd", "area"):
                np.testing.assert_array_equal(entry[name], label[name])
            assert (entry["height"], entry["width"]) == (20, 40)
            seen.append(int(entry["image_id"]))
    assert sorted(seen) == list(range(COUNT))


def test_shards_share_the_images_and_fill_up(dataset):
    seen = []
    for index in range(2):
        shard = InputShard(index, 2, 2)
        batches = list(evaluation_detection_batches(dataset, "train", PREPROCESSING, 1, shard=shard))
        assert len(batches) == 4
        for images, truth in batches:
            entries, rows = unpadded(as_numpy(truth))
            assert images.shape == (1, *SIZE, 3) and len(entries) == len(rows)
            seen += [int(entry["image_id"]) for entry in entries]
            if not entries:  # a filler, in which nothing is to be found
                assert truth["count"][0] == 0
    assert sorted(seen) == list(range(COUNT))


def test_training_targets_are_the_boxes(dataset):
    """Without augmentation, what the matched anchors' codes mean are the boxes of the image."""
    anchors = SSD_MOBILENET_V1.boxes(SIZE)
    images, targets = next(iter(training_detection_batches(dataset, CARD, COUNT, "none")))
    labels = labels_by_id(dataset, "train").values()
    inputs = np.stack([PREPROCESSING.scale_images(PREPROCESSING.evaluation_image(image)) for image, _ in labels])
    counts = []
    for i, image in enumerate(np.asarray(images)):
        _, label = list(labels)[np.abs(inputs - image).max(axis=(1, 2, 3)).argmin()]
        codes, matched = np.split(np.asarray(targets["box_codes"][i]), [4], axis=-1)
        matched = matched[:, 0] == 1
        classes = np.asarray(targets["class_logits"][i])
        assert ((classes > 0) == matched).all()
        boxes = np.asarray(decode_boxes(codes[matched], anchors[matched]))
        found = {(*box.round(3), c - 1) for box, c in zip(boxes, classes[matched], strict=True)}
        single = ~label["is_crowd"]
        expected = {(*b.round(3), c) for b, c in zip(label["boxes"][single], label["classes"][single], strict=True)}
        assert found <= expected
        # Boxes that share their best anchor may lose it.
        assert len(found) >= (len(expected) + 1) // 2
        counts.append(len(expected))
    assert sorted(counts) == [0, 1, 2, 3, 4, 5, 5]


def test_a_stream_goes_on_where_it_stopped(dataset):
    whole = iter(training_detection_batches(dataset, CARD, 2, "ssd", InputPosition(seed=5)))
    batches = [next(whole) for _ in range(5)]  # three an epoch
    later = iter(training_detection_batches(dataset, CARD, 2, "ssd", InputPosition(5, 1, 1)))
    images, targets = next(later)
    np.testing.assert_array_equal(images, batches[4][0])
    for name, value in targets.items():
        np.testing.assert_array_equal(value, batches[4][1][name])
    other = next(iter(training_detection_batches(dataset, CARD, 2, "ssd", InputPosition(6, 1, 1))))
    assert np.abs(np.asarray(other[0]) - images).max() > 0
