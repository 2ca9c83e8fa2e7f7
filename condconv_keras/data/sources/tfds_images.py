"""TFDS data sets that pair an image with a class label."""

from condconv_keras.data.dataset import ImageDataset
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
from condconv_keras.facts.imagenet import readable
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

tfds = LazyModule("tensorflow_datasets")


class TfdsImages(TfdsSource, ImageDataset):
    """A TFDS data set for supervised image classification, with 1 channel if its images have one, else 3.

    Raises:
        UserError: if the name is unknown, the data are neither prepared nor can be downloaded, files are missing, or
            the data set does not pair one image with one class label.
    """

    def __init__(self, request):
        self._builder = builder = find_builder(request)
        self.apply_orientation = request.apply_orientation
        self._image_key, self._label_key = _image_and_label(request.name, builder.info)
        prepare(request, builder)
        features = builder.info.features
        height, width, stored_channels = features[self._image_key].shape
        counts = split_counts(builder)
        self._slices = split_slices(counts, request.validation_fraction)
        super().__init__(
            name=request.name,
            class_names=readable(features[self._label_key].names),
            image_shape=(height, width, 1 if stored_channels == 1 else 3),
            splits={split: count for split, (_, count) in self._slices.items()},
            held_out=len(self._slices) > len(counts),
            split_rule=SLICE if len(self._slices) > len(counts) else None,
        )

    def read_records(self, split, shuffle_seed):
        image_key, label_key = self._image_key, self._label_key
        instruction, _ = self._slices[split]
        examples = read_encoded(self._builder, instruction, image_key, {label_key: True}, shuffle_seed)
        return examples.map(lambda example: (example[image_key], tf.cast(example[label_key], tf.int32)))


def _image_and_label(name, info):
    """Returns the keys of the image and of its label: the supervised pair, or else the only pair there is."""
    features = top_features(info)
    supervised = info.supervised_keys
    keys = supervised if isinstance(supervised, tuple) and len(supervised) == 2 else features
    images = [key for key in keys if is_image(features.get(key))]
    labels = [key for key in keys if isinstance(features.get(key), tfds.features.ClassLabel)]
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    raise UserError(
        f"data set {name!r} is not for image classification: expected one 8-bit Image and one ClassLabel, "
        f"received the features {feature_types(features)}"
    )
