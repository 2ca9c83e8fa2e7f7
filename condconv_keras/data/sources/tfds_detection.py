"""TFDS data sets in the layout of `coco` and `voc`: an image and a sequence of objects with a box and a class."""

import dataclasses

import numpy as np

from condconv_keras.data.detection_dataset import DetectionDataset
from condconv_keras.data.formats.exif import exif_orientation
from condconv_keras.data.input.decoding import after, decode_image
from condconv_keras.data.input.orientation import turned_boxes
from condconv_keras.data.sources.clean_boxes import MAX_BOXES
from condconv_keras.data.sources.tfds_source import (
    TfdsSource,
    feature_types,
    find_builder,
    is_image,
    prepare,
    read_encoded,
    split_counts,
    split_slices,
    top_features,
)
from condconv_keras.data.split_rule import SLICE
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

tfds = LazyModule("tensorflow_datasets")

MINIVAL = "minival"
MINIVAL_IMAGES = 8000
CHANNELS = 3
ID_BUCKETS = 2**53  # the integers that JSON's numbers hold exactly
# COCO numbers its categories up to 90 and uses 80 of the numbers; TFDS keeps their order, not the numbers.
_UNUSED_COCO_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS = tuple(sorted(set(range(1, 91)) - _UNUSED_COCO_IDS))


class TfdsDetection(TfdsSource, DetectionDataset):
    """A TFDS data set of images with boxes; its images are RGB.

    It has one 8-bit image and one sequence of objects with a `BBoxFeature` and a `ClassLabel` (`label`, if there are
    several), and may have for each object `is_crowd`, `area` and `is_difficult` (difficult objects become crowd boxes,
    as Pascal VOC neither asks to find them nor minds it), and for each image an integer `image/id`, in the place of
    which else comes a hash.

    Boxes are cleaned as they are read, by the rules of `condconv_keras.data.sources.clean_boxes`, and not counted. TFDS
    itself stores no box that lies outside of its image. Its boxes are those of the pixels that TFDS delivers, which are
    the stored ones: where the EXIF orientation of an image is applied, they are turned with it.

    `coco/2014` has one more split, `minival`: the first 8,000 images of `validation` in the order in which TFDS stores
    them, that of a hash of the file names. It has the size of the minival split of the paper and is drawn from the
    same images, but is not the published list of ids.

    Raises:
        UserError: as `TfdsImages` does, or if the data set does not have these features.
    """

    def __init__(self, request):
        self._builder = builder = find_builder(request)
        self.apply_orientation = request.apply_orientation
        self._keys = _Keys.of(request.name, builder.info)
        prepare(request, builder)
        height, width, _ = builder.info.features[self._keys.image].shape
        class_names = tuple(builder.info.features[self._keys.objects].feature[self._keys.label].names)
        is_coco = builder.name == "coco" and len(class_names) == len(COCO_CATEGORY_IDS)
        counts = split_counts(builder)
        slices = split_slices(counts, request.validation_fraction)
        self._slices = slices | _minival(builder, counts)
        super().__init__(
            name=request.name,
            class_names=class_names,
            category_ids=COCO_CATEGORY_IDS if is_coco else None,
            image_shape=(height, width, CHANNELS),
            splits={split: count for split, (_, count) in self._slices.items()},
            held_out=len(slices) > len(counts),
            split_rule=SLICE if len(slices) > len(counts) else None,
        )

    def read_records(self, split, shuffle_seed):
        keys = self._keys
        instruction, _ = self._slices[split]
        others = {keys.objects: keys.of_object}
        if keys.image_id:
            others[keys.image_id] = True
        examples = read_encoded(
            self._builder, instruction, keys.image, others, shuffle_seed, add_tfds_id=keys.image_id is None
        )
        return examples.map(
            lambda example: (example[keys.image], _label(example, keys, self.apply_orientation)), tf.data.AUTOTUNE
        )


def _minival(builder, counts):
    """Returns the split `minival` as a dict of its name to TFDS instruction and count, of `coco/2014` only."""
    if builder.name == "coco" and builder.info.config_name == "2014" and counts.get("validation", 0) > MINIVAL_IMAGES:
        return {MINIVAL: (f"validation[:{MINIVAL_IMAGES}]", MINIVAL_IMAGES)}
    return {}


@dataclasses.dataclass(frozen=True)
class _Keys:
    """The names of the features; None for those that a data set does not have."""

    image: str
    objects: str
    box: str
    label: str
    is_crowd: str | None
    is_difficult: str | None
    area: str | None
    image_id: str | None

    @classmethod
    def of(cls, name, info):
        features = top_features(info)
        images = [key for key, feature in features.items() if is_image(feature)]
        objects = [key for key, feature in features.items() if _is_objects(feature)]
        if len(images) != 1 or len(objects) != 1:
            raise UserError(
                f"data set {name!r} is not for object detection: expected one 8-bit Image and one Sequence of objects "
                f"with a BBoxFeature and a ClassLabel, received the features {feature_types(features)}"
            )
        (objects,) = objects
        of_object = features[objects].feature
        box, label = _box_and_label(of_object)
        optional = {key: key if key in of_object else None for key in ("is_crowd", "is_difficult", "area")}
        image_id = features.get("image/id")
        has_id = image_id is not None and image_id.shape == () and np.issubdtype(image_id.np_dtype, np.integer)
        return cls(images[0], objects, box, label, **optional, image_id="image/id" if has_id else None)

    @property
    def of_object(self):
        """The names of the object's features to read."""
        return {key for key in (self.box, self.label, self.is_crowd, self.is_difficult, self.area) if key}


def _is_objects(feature):
    if not isinstance(feature, tfds.features.Sequence) or not isinstance(feature.feature, tfds.features.FeaturesDict):
        return False
    return all(_box_and_label(feature.feature))


def _box_and_label(features):
    """Returns the names of an object's box and class, each None if there is none or more than one."""
    boxes = [key for key, feature in features.items() if isinstance(feature, tfds.features.BBoxFeature)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    labels = ["label"] if "label" in labels else labels
    return tuple(keys[0] if len(keys) == 1 else None for keys in (boxes, labels))


def _label(example, keys, apply_orientation):
    objects = example[keys.objects]
    boxes = tf.clip_by_value(objects[keys.box], 0.0, 1.0)
    is_crowd = tf.zeros(tf.shape(boxes)[:1], tf.bool)
    for key in (keys.is_crowd, keys.is_difficult):
        if key:
            is_crowd |= objects[key]
    if keys.image_id:
        image_id = tf.cast(example[keys.image_id], tf.int64)
    else:
        image_id = tf.strings.to_hash_bucket_strong(example["tfds_id"], ID_BUCKETS, key=[0, 0])
    box_area = _box_area(boxes, example[keys.image])
    area = tf.cast(objects[keys.area], tf.float32) if keys.area else box_area
    label = {
        "boxes": boxes,
        "classes": tf.cast(objects[keys.label], tf.int32),
        "is_crowd": is_crowd,
        "area": tf.where(tf.math.is_finite(area) & (area >= 0), area, box_area),
    }
    finite = tf.reduce_all(tf.math.is_finite(objects[keys.box]), axis=1)
    kept = _largest(boxes, finite & (label["classes"] >= 0) & _has_area(boxes))
    if apply_orientation:
        with after(box_area):
            label["boxes"] = turned_boxes(boxes, exif_orientation(example[keys.image]))
    return {name: tf.gather(values, kept) for name, values in label.items()} | {"image_id": image_id}


def _box_area(boxes, encoded):
    """Returns the area of each box in square pixels of an image that is not decoded."""
    size = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.extract_jpeg_shape(encoded)[:2],
        lambda: tf.shape(decode_image(encoded, 0, apply_orientation=False))[:2],
    )
    return tf.reduce_prod((boxes[:, 2:] - boxes[:, :2]) * tf.cast(size, tf.float32), axis=1)


def _has_area(boxes):
    return tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1)


def _largest(boxes, good):
    """Returns the indices, in order, of the largest `MAX_BOXES` of the good boxes."""
    good = tf.where(good)[:, 0]
    good_boxes = tf.gather(boxes, good)
    area = tf.reduce_prod(good_boxes[:, 2:] - good_boxes[:, :2], axis=1)
    largest = tf.argsort(area, direction="DESCENDING", stable=True)[:MAX_BOXES]
    return tf.gather(good, tf.sort(largest))
