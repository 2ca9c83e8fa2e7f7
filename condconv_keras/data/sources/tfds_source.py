"""TensorFlow Datasets: what is prepared on disk first, then what TFDS can download.

TFDS is imported when a data set is opened, TensorFlow by TFDS only when one is read: a wrong name is refused in a
moment.
"""

import os
import pathlib
import socket
import urllib.parse
import urllib.request

import numpy as np

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.input.decoding import EncodedImage
from condconv_keras.utils.errors import MissingPackage, UserError, unknown_name
from condconv_keras.utils.lazy import LazyModule, installs_named

tfds = LazyModule("tensorflow_datasets")
naming = LazyModule("tensorflow_datasets.core.naming")
read_only_builder = LazyModule("tensorflow_datasets.core.read_only_builder")


class TfdsSource:
    """The part of a `Dataset` that those of TFDS share: records are the contents of image files.

    A name is `"name"`, `"name/config"`, `"name:version"` or `"name/config:version"`. It may be unknown to TFDS if the
    `data_dir` of the `Request` holds it; that is TFDS's default (`~/tensorflow_datasets`) if None. The last part of
    `train` becomes `validation` if there is no other split.

    Attributes:
        apply_orientation: as in `condconv_keras.data.open_dataset`.
    """

    reads_files = True
    uses_data_dir = True

    @classmethod
    def claims(cls, name, data_dir):
        """Always: TFDS says by itself which names it does not know."""
        del name, data_dir
        return True

    def image(self, record):
        return EncodedImage(record, self.image_shape, self.apply_orientation)


def find_builder(request):
    """Returns the TFDS builder that a `Request` names; raises a `UserError` if there is none."""
    _check_no_path(request.name)
    return _prepared_builder(request.name, request.data_dir) or _registered_builder(request)


def _check_no_path(name):
    """Raises a `UserError` for a name that can only be a folder's: there is none, or its source had claimed it."""
    if os.path.isabs(name) or name.startswith((".", "~")):
        raise UserError(f"expected a folder of images, there is none at {name!r}")


def _prepared_builder(name, data_dir):
    """Returns the builder of the data set's files, or None if there are none."""
    if not naming.is_valid_dataset_name(name):
        return None
    try:
        return read_only_builder.builder_from_files(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        return None
    except Exception as error:
        raise UserError(f"cannot read data set {name!r} in {_shown(data_dir)}: {_first_line(error)}") from error


def _registered_builder(request):
    name, data_dir = request.name, request.data_dir
    registered = tfds.list_builders(with_community_datasets=False)
    valid = naming.is_valid_dataset_name(name)
    if not valid or str(naming.parse_builder_name_kwargs(name)[0]) not in registered:
        raise unknown_name("data set or folder", name, [*request.embedded_names, *registered, *_names_in(data_dir)])
    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        raise UserError(f"cannot open data set {name!r} of TFDS: {_first_line(error)}") from error


def _names_in(data_dir):
    """Returns the `name` or `name/config` of everything that is prepared in the folder."""
    root = pathlib.Path(os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR))
    return {"/".join(path.relative_to(root).parts[:-2]) for path in root.glob("*/**/dataset_info.json")}


def top_features(info):
    """Returns the dict of features of a data set; empty if its examples are no dicts."""
    return dict(info.features) if isinstance(info.features, tfds.features.FeaturesDict) else {}


def feature_types(features):
    """Returns a dict of features as text for a message."""
    return ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items())


def is_image(feature):
    """Whether a feature is an 8-bit image, and not a mask."""
    labeled = isinstance(feature, tfds.features.LabeledImage)  # a segmentation mask
    return isinstance(feature, tfds.features.Image) and not labeled and feature.np_dtype == np.uint8


def prepare(request, builder):
    """Makes sure that all files are there, downloading them if none is and it may; raises a `UserError` if not."""
    name = request.name
    if not builder.info.splits:
        if not request.download:
            raise UserError(f"data set {name!r} is not prepared in {_shown(builder.data_dir)}, and not downloaded now")
        try:
            _check_host(builder)
            with installs_named():
                builder.download_and_prepare()
        except MissingPackage:
            raise
        except Exception as error:
            raise UserError(
                f"data set {name!r} is not prepared in {_shown(builder.data_dir)} "
                f"and cannot be downloaded: {_first_line(error)}"
            ) from error
    missing = [path for split in builder.info.splits.values() for path in split.filepaths if not path.exists()]
    if missing:
        raise UserError(f"data set {name!r} lacks {len(missing)} of its files, such as {_shown(missing[0])}")


def _check_host(builder):
    """Raises an OSError if the download's host cannot be found: TFDS itself would retry for minutes."""
    hosts = {urllib.parse.urlsplit(url).hostname for url in builder.url_infos}
    if hosts and not builder.MANUAL_DOWNLOAD_INSTRUCTIONS and not urllib.request.getproxies():
        host = sorted(hosts)[0]
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            raise OSError(f"no network connection to {host}") from error


def split_counts(builder):
    """Returns a dict of split name to the number of its examples."""
    if builder.info.splits:
        return {split: info.num_examples for split, info in builder.info.splits.items()}
    # A builder that reads without prepared files, as TFDS's mocking makes it, describes no splits: count what it reads.
    splits = (TRAIN_SPLIT, EVALUATION_SPLITS[0])
    return {split: int(builder.as_dataset(split=split).cardinality()) for split in splits}


def split_slices(counts, validation_fraction):
    """Returns a dict of split name to TFDS instruction and count; holds out a part of a train split that is alone."""
    slices = {split: (split, count) for split, count in counts.items()}
    examples = counts.get(TRAIN_SPLIT, 0)
    if examples < 2 or any(split in counts for split in EVALUATION_SPLITS):
        return slices
    held_out = min(max(round(validation_fraction * examples), 1), examples - 1)
    boundary = examples - held_out
    return slices | {
        TRAIN_SPLIT: (f"{TRAIN_SPLIT}[:{boundary}]", boundary),
        EVALUATION_SPLITS[0]: (f"{TRAIN_SPLIT}[{boundary}:]", held_out),
    }


def read_encoded(builder, instruction, image_key, others, shuffle_seed, add_tfds_id=False):
    """Reads the examples of a split without decoding their images.

    Args:
        builder: of TFDS.
        instruction: TFDS's name of a split or of a part of it.
        image_key: name of the image feature, which is read as the string of its file.
        others: the other features to read, as in `tfds.decode.PartialDecoding`.
        shuffle_seed: permutes the files; None for the stored order.
        add_tfds_id: whether examples get TFDS's own identifier, a string `tfds_id`.

    Returns:
        A `tf.data.Dataset` of dicts.
    """
    return builder.as_dataset(
        split=instruction,
        shuffle_files=shuffle_seed is not None,
        decoders=tfds.decode.PartialDecoding(
            {image_key: True, **others}, decoders={image_key: tfds.decode.SkipDecoding()}
        ),
        read_config=tfds.ReadConfig(
            shuffle_seed=shuffle_seed,
            shuffle_reshuffle_each_iteration=False,
            enable_ordering_guard=False,  # data sets stored in order may be shuffled too
            try_autocache=False,
            skip_prefetch=True,
            add_tfds_id=add_tfds_id,
        ),
    )


def _shown(path):
    return repr(os.fspath(path or tfds.core.constants.DATA_DIR))


def _first_line(error, limit=400):
    """The start of an error's message: TFDS's own ones run over many lines."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= limit else f"{lines[0][:limit]}..."
