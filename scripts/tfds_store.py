"""Flags, the split to choose settings on and the writing, for all scripts that write TFDS data sets."""

import hashlib
import pathlib
import subprocess

import numpy as np
from absl import flags

from condconv_keras.data.prepared import has_only_left_overs
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_parents, write_text
from condconv_keras.utils.json_text import json_text

RECORD = "sources.json"

flags.disclaim_key_flags()  # a flag of `define_flags` belongs to the script that calls it


def define_flags():
    """Defines `--output_dir` and `--validation_images`."""
    flags.DEFINE_string(
        "output_dir", None, "Folder of prepared TFDS data sets, the --data_dir of train.py.", required=True
    )
    flags.DEFINE_integer(
        "validation_images", 0, "Number of training images to hold out in place of the test images.", lower_bound=0
    )


def new_data_set(output_dir, name):
    """Returns the folder of data sets as a `pathlib.Path`; raises a `UserError` if this one cannot be made there."""
    output = pathlib.Path(output_dir).expanduser()
    check_parents(output / name, "output_dir")
    if (output / name).exists() and not has_only_left_overs(output / name):
        raise UserError(f"--output_dir {str(output)!r} holds a {name} already; remove it or give another folder")
    return output


def check_held_out(count, most):
    """Raises a `UserError` if no image could be left to train on, before images are drawn.

    Args:
        count: number of images to hold out.
        most: number of training images that there can be at most; how many there are is known when they are drawn.
    """
    if count >= most:
        raise UserError(
            f"expected --validation_images below the number of training images, {most} at most, received: {count}"
        )


def hold_out(splits, count):
    """Returns the splits to write.

    Args:
        splits: dict of pairs of images and labels, `"train"` among them.
        count: number of training images to hold out, the last ones, or 0.

    Returns:
        `splits` itself for 0, else a dict of `"train"` and `"validation"` alone.

    Raises:
        UserError: no image would be left to train on.
    """
    if not count:
        return splits
    images, labels = splits["train"]
    if count >= len(labels):
        raise UserError(f"expected --validation_images below the {len(labels)} training images, received: {count}")
    return {"train": (images[:-count], labels[:-count]), "validation": (images[-count:], labels[-count:])}


def package_versions(names):
    """Returns the versions of the installed ones of Debian packages, `{name: version}`, empty without dpkg."""
    return {name: version for name in names if (version := dpkg("-W", "-f=${Version}", name))}


def dpkg(*arguments):
    """Returns what `dpkg-query` prints, empty if it does not know the package or is not there."""
    try:
        return subprocess.run(["dpkg-query", *arguments], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def store(splits, output, *, name, version, class_names, homepage, sources):
    """Writes the splits, which TFDS does in a temporary folder that it moves at the end.

    Args:
        splits: dict of pairs of uint8 images `[count, height, width, 1]` and integer labels `[count]`.
        output: folder of data sets, `pathlib.Path`.
        name: of the data set.
        version: as `"1.0.0"`.
        class_names: list of strings.
        homepage: where the images come from.
        sources: dict of what the images were made from; `sources.json` in the data set's folder has it with counts and
            hashes of the splits.

    Returns:
        One line that says what was written.
    """
    import tensorflow_datasets as tfds

    shape = next(iter(splits.values()))[0].shape[1:]
    return store_examples(
        {
            split: [{"image": image, "label": int(label)} for image, label in zip(images, labels, strict=True)]
            for split, (images, labels) in splits.items()
        },
        output,
        name=name,
        version=version,
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=list(class_names))}
        ),
        homepage=homepage,
        sources=sources,
    )


def store_examples(splits, output, *, name, version, features, homepage, sources):
    """Writes splits of examples of any features, as `store`.

    Args:
        splits: dict of lists of examples, dicts of the features with an `"image"` and a `"label"` or `"objects"`, which
            have labels.
        features: `tfds.features.FeaturesDict` of an example.
        output, name, version, homepage, sources: as in `store`.
    """
    import tensorflow_datasets as tfds

    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version=version,
        features=features,
        split_datasets={split: list(enumerate(examples)) for split, examples in splits.items()},
        data_dir=output,
        homepage=homepage,
    )
    folder = output / name / version
    write_text(folder / RECORD, json_text({"splits": {k: _figures(v) for k, v in splits.items()}, **sources}))
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in splits.items())
    return f"wrote {folder}: {counts} images"


def _figures(examples):
    """The number of images and a hash: of all pixels, then of each image's label or number of objects and objects."""
    content = hashlib.sha256()
    for example in examples:
        content.update(np.ascontiguousarray(example["image"]).tobytes())
    for example in examples:
        content.update(np.array(example.get("label", len(example.get("objects", ()))), "<i8").tobytes())
        for found in example.get("objects", ()):
            content.update(np.array(found["label"], "<i8").tobytes() + np.asarray(found["bbox"], "<f4").tobytes())
    return {"images": len(examples), "sha256": content.hexdigest()}
