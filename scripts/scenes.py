"""Writes scenes of handwritten digits as a TFDS data set: `python -m scripts.scenes --output_dir=DIR`.

    python -m scripts.scenes --output_dir=data
    python train.py --dataset=scenes --data_dir=data --model=condconv_ssd300_mobilenet_v1 --width_multiplier=0.25
        --model_dir=runs/small_scenes

160x160, RGB, with boxes of ten classes; no download. The scenes are made as those of the embedded data set
`digit_scenes` (`condconv_keras.data.sources.digit_scenes`) and made smaller once, so that training does not wait for
them. 8,000 are for training and 1,000 for the test. The digits of the test scenes are in no training scene. No test
scene is one of the 200 of `digit_scenes` that its recipe was chosen on, but those show the same 360 digits.

`--validation_images=1000` is for choosing a recipe. It leaves the test out, takes a quarter of the training digits
away, and makes that many scenes of them as the split `validation`.
"""

import importlib.metadata

import numpy as np
from absl import flags

from condconv_keras.commands import cli
from condconv_keras.data.sources import digit_scenes
from condconv_keras.data.sources.digits import digit_splits
from condconv_keras.utils.lazy import LazyModule, require
from scripts import tfds_store

Image = LazyModule("PIL.Image")
tqdm = LazyModule("tqdm")

NAME = "scenes"
VERSION = "1.0.0"
SIZE = 160
SPLITS = {"train": 8000, "test": 1000}
HOLD_OUT_EVERY = 4  # the first of four digits

_PACKAGES = ("numpy", "pillow", "scikit-learn")  # that decide the pixels

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    output = tfds_store.new_data_set(FLAGS.output_dir, NAME)
    require("sklearn", "PIL", "tensorflow_datasets", "tqdm")
    return tfds_store.store_examples(
        scene_splits(FLAGS.validation_images),
        output,
        name=NAME,
        version=VERSION,
        features=_features(),
        homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        sources={
            "digits": "scikit-learn's load_digits",
            "made_by": "condconv_keras.data.sources.digit_scenes",
            "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    )


def scene_splits(held_out, counts=SPLITS):
    """Returns a dict of the splits to lists of examples: the image, uint8 `[160, 160, 3]`, and its objects.

    Args:
        held_out: number of scenes of held-out digits to make in place of the test, or 0.
        counts: dict of the numbers of scenes for training and for the test.
    """
    digits = digit_splits()
    if not held_out:
        # Behind those of the embedded data set, which its recipe was chosen on.
        first = digit_scenes.SPLITS["validation"]
        return {
            "train": _scenes("train", 0, counts["train"], digits["train"]),
            "test": _scenes("validation", first, counts["test"], digits["test"]),
        }
    is_held_out = np.arange(len(digits["train"][1])) % HOLD_OUT_EVERY == 0
    kept, taken = (tuple(array[mask] for array in digits["train"]) for mask in (~is_held_out, is_held_out))
    return {
        "train": _scenes("train", 0, counts["train"], kept),
        "validation": _scenes("train", counts["train"], held_out, taken),
    }


def _scenes(split, first, count, digits):
    scenes = tqdm.trange(first, first + count, desc=f"Making scenes of {len(digits[1])} digits", unit="scene")
    return [_example(split, index, digits) for index in scenes]


def _example(split, index, digits):
    placed = digit_scenes.scene_digits(split, index, digits)
    image = Image.fromarray(digit_scenes.render(split, index, placed))
    objects = [{"bbox": np.array(digit.box, np.float32) / digit_scenes.SIZE, "label": digit.digit} for digit in placed]
    return {"image": np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX)), "objects": objects}


def _features():
    import tensorflow_datasets as tfds

    box = {"bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(names=list(map(str, range(10))))}
    # JPEG: in textures of noise PNG finds nothing to compress.
    image = tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="jpeg")
    return tfds.features.FeaturesDict({"image": image, "objects": tfds.features.Sequence(box)})


if __name__ == "__main__":
    tfds_store.define_flags()
    cli.run(main)
