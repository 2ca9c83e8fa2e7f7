"""TFDS data sets that the tests write themselves, read back without a network."""

import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from condconv_keras.data import open_detection_dataset
from condconv_keras.data.sources import tfds_detection
from condconv_keras.data.sources.clean_boxes import Boxes, clean_boxes
from condconv_keras.utils.errors import UserError
from tests.data.races import reasons
from tests.images import encoded, exif, smooth_photo

SHAPE = (20, 40, 3)


def _pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def _object(box, label, **fields):
    return {"bbox": tfds.features.BBox(*box), "label": label, **fields}


def _coco_example(index):
    """Image `index` of as many boxes, the last one a crowd."""
    return {
        "image": _pixels(index),
        "image/id": 1000 + index,
        "objects": [
            _object((0.1, 0.2, 0.5, (i + 3) / 10), i, area=10 * i + 1, is_crowd=i == index - 1) for i in range(index)
        ],
    }


def _store(data_dir, name="toy_boxes", splits=None, features=None, **kwargs):
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            features
            or {
                "image": tfds.features.Image(shape=SHAPE, encoding_format="png"),
                "image/id": np.int64,
                "objects": tfds.features.Sequence(
                    {
                        "bbox": tfds.features.BBoxFeature(),
                        "label": tfds.features.ClassLabel(num_classes=80),
                        "area": np.int64,
                        "is_crowd": np.bool_,
                    }
                ),
            }
        ),
        split_datasets=splits
        or {"train": list(enumerate(map(_coco_example, range(4)))), "test": [(0, _coco_example(5))]},
        data_dir=data_dir,
        **kwargs,
    )


def _by_id(dataset, split):
    return {int(label["image_id"]): (image, label) for image, label in dataset.examples(split).as_numpy_iterator()}


def test_the_layout_of_coco(tmp_path):
    _store(tmp_path)
    dataset = open_detection_dataset("toy_boxes", data_dir=tmp_path)
    assert dataset.class_names == tuple(str(i) for i in range(80))
    assert dataset.category_ids == tuple(range(1, 81))
    assert dataset.image_shape == SHAPE
    assert (dataset.splits, dataset.held_out) == ({"train": 4, "test": 1}, False)
    assert dataset.skipped_boxes == {"train": {}, "test": {}}
    examples = _by_id(dataset, "train")
    assert sorted(examples) == [1000, 1001, 1002, 1003]
    for index in range(4):
        image, label = examples[1000 + index]
        np.testing.assert_array_equal(image, _pixels(index))
        expected = np.array([[0.1, 0.2, 0.5, (i + 3) / 10] for i in range(index)]).reshape(index, 4)
        np.testing.assert_allclose(label["boxes"], expected, rtol=1e-6)
        assert label["classes"].tolist() == list(range(index))
        assert label["area"].tolist() == [10 * i + 1 for i in range(index)]
        assert label["is_crowd"].tolist() == [i == index - 1 for i in range(index)]
        dtypes = [label[name].dtype for name in ("boxes", "classes", "is_crowd", "area", "image_id")]
        assert dtypes == [np.float32, np.int32, bool, np.float32, np.int64]


def test_boxes_are_turned_with_their_image(tmp_path):
    """They are those of the stored pixels, which TFDS delivers."""
    content = encoded(smooth_photo(20, 40), "PNG", exif=exif(6))
    example = _coco_example(1) | {"image": io.BytesIO(content)}
    _store(tmp_path, splits={"train": [(0, example)], "test": [(0, _coco_example(2))]})
    stored = np.asarray(smooth_photo(20, 40))
    for apply_orientation, pixels, box in (
        (False, stored, [0.1, 0.2, 0.5, 0.3]),
        (True, np.rot90(stored, -1), [0.2, 0.5, 0.3, 0.9]),
    ):
        dataset = open_detection_dataset("toy_boxes", data_dir=tmp_path, apply_orientation=apply_orientation)
        dataset.image_shape = (None, None, 3)  # TFDS says that of the stored ones
        ((image, label),) = _by_id(dataset, "train").values()
        np.testing.assert_array_equal(image, pixels)
        np.testing.assert_allclose(label["boxes"], [box], atol=1e-6)
        assert label["area"].tolist() == [1]


def _features_of(name, **changed):
    """Returns the features of a data set as TFDS's own code defines them."""
    return dict(tfds.builder(name).info.features) | changed


@pytest.mark.parametrize("encoding", ["png", pytest.param("jpeg", marks=pytest.mark.slow)])
def test_the_layout_of_voc(encoding, tmp_path):
    features = _features_of("voc/2007", image=tfds.features.Image(encoding_format=encoding))
    others = {"pose": 2, "is_truncated": False}
    objects = [
        _object((0.0, 0.25, 0.5, 0.75), "dog", is_difficult=False, **others),
        _object((0.2, 0.2, 0.2, 0.4), "dog", is_difficult=False, **others),  # no height
        _object((0.5, 0.5, 1.0, 1.0), "aeroplane", is_difficult=True, **others),
    ]
    labels = {"labels": ["dog"], "labels_no_difficult": ["dog"], "objects": objects}
    examples = [(i, {"image": _pixels(i), "image/filename": f"{i}.jpg", **labels}) for i in range(9)]
    _store(tmp_path, features=features, splits={"train": examples})
    dataset = open_detection_dataset("toy_boxes", data_dir=tmp_path, validation_fraction=0.3)
    assert (dataset.splits, dataset.held_out) == ({"train": 6, "validation": 3}, True)
    assert (dataset.class_names[0], dataset.class_names[11]) == ("aeroplane", "dog")
    assert dataset.category_ids == tuple(range(1, 21))
    ids = []
    for split in dataset.splits:
        by_id = _by_id(dataset, split)
        assert by_id.keys() == {int(label["image_id"]) for _, label in dataset.records(split, 7).as_numpy_iterator()}
        ids += by_id
        for _, label in by_id.values():
            np.testing.assert_allclose(label["boxes"], [[0.0, 0.25, 0.5, 0.75], [0.5, 0.5, 1.0, 1.0]])
            assert (label["classes"].tolist(), label["is_crowd"].tolist()) == ([11, 0], [False, True])
            np.testing.assert_allclose(label["area"], [10 * 20, 10 * 20])
    assert len(set(ids)) == 9 and min(ids) >= 0 and max(ids) < 2**53


def test_minival(tmp_path, monkeypatch):
    examples = [_coco_example(i) | {"image/filename": f"{i}.jpg"} for i in range(5)]
    for example in examples:
        example["objects"] = [thing | {"id": 1} for thing in example["objects"]]
    splits = {split: list(enumerate(examples)) for split in ("train", "validation")}
    features = _features_of("coco/2014")
    _store(tmp_path, name="coco", config="2014", splits=splits, features=features)
    assert "minival" not in open_detection_dataset("coco/2014", data_dir=tmp_path).splits
    monkeypatch.setattr(tfds_detection, "MINIVAL_IMAGES", 3)
    dataset = open_detection_dataset("coco/2014", data_dir=tmp_path)
    assert dataset.splits == {"train": 5, "validation": 5, "minival": 3}
    assert (dataset.evaluation_split, dataset.held_out) == ("validation", False)
    minival, validation = (list(_by_id(dataset, split)) for split in ("minival", "validation"))
    assert minival == validation[:3]
    # COCO has no category 12, 26, 29, 30, 45, 66, 68, 69, 71 and 83: the last of the 80 classes is number 90.
    assert (dataset.category_ids[10:13], dataset.category_ids[-1]) == ((11, 13, 14), 90)
    _store(tmp_path, name="coco", config="2017", splits=splits, features=features)
    assert "minival" not in open_detection_dataset("coco/2017", data_dir=tmp_path).splits


def test_boxes_are_cleaned_as_those_of_a_folder():
    random = np.random.default_rng(0)
    keys = tfds_detection._Keys("image", "objects", "bbox", "label", "is_crowd", None, "area", "image/id")
    encoded = tf.io.encode_png(_pixels(0))
    for count in (0, 5, 250):
        boxes = random.choice([-0.2, 0.0, 0.3, 0.31, 0.6, 1.0, 1.2, np.nan, np.inf], (count, 4)).astype(np.float32)
        classes = random.integers(-1, 80, count).astype(np.int64)
        is_crowd = random.uniform(size=count) < 0.5
        area = random.choice([np.nan, -1.0, 7.0], count).astype(np.float32)
        objects = {"bbox": boxes, "label": classes, "is_crowd": is_crowd, "area": area}
        example = {"image": encoded, "image/id": 1, "objects": {key: tf.constant(objects[key]) for key in objects}}
        label = tfds_detection._label(example, keys, True)
        expected, _ = clean_boxes(Boxes(boxes * np.array([20, 40, 20, 40]), classes, is_crowd, area), (20, 40))
        for name, values in vars(expected).items():
            np.testing.assert_allclose(label[name], values, rtol=1e-5)


def test_what_is_wrong_with_an_image_is_told_of_its_boxes():
    keys = tfds_detection._Keys("image", "objects", "bbox", "label", None, None, None, None)
    objects = {"bbox": tf.constant([[0.0, 0.0, 1.0, 1.0]]), "label": tf.constant([0])}

    def label(content):
        return tfds_detection._label({"image": content, "objects": objects, "tfds_id": "0"}, keys, True)

    traced = tf.function(label, autograph=False).get_concrete_function(tf.TensorSpec([], tf.string))
    damaged = [b"a text", encoded(smooth_photo(40, 40), "PNG")[:60]]
    assert reasons(traced, damaged) == {tf.errors.InvalidArgumentError}


@pytest.mark.parametrize(
    "features",
    [
        {"image": tfds.features.Image(shape=SHAPE), "label": tfds.features.ClassLabel(num_classes=3)},
        {"image": tfds.features.Image(shape=SHAPE), "objects": tfds.features.Sequence({"bbox": np.float32})},
    ],
)
def test_a_set_for_another_task(features, tmp_path):
    example = {"image": _pixels(0), "label": 1, "objects": {"bbox": [1.0]}}
    _store(tmp_path, features=features, splits={"train": [(0, {key: example[key] for key in features})]})
    with pytest.raises(UserError, match=r"'toy_boxes' is not for object .* received the features .*image \(Im"):
        open_detection_dataset("toy_boxes", data_dir=tmp_path)


def test_coco_is_not_downloaded_unless_it_may_be(tmp_path):
    with pytest.raises(UserError, match=r"'coco/2014' is not prepared in .*, and not downloaded now"):
        open_detection_dataset("coco/2014", data_dir=tmp_path, download=False)
