"""Flags that say how a network of somebody else takes images: --mean, --std, --crop_fraction and --interpolation."""

from absl import flags

from condconv_keras.facts.preprocessing import INTERPOLATIONS, Preprocessing
from condconv_keras.utils.errors import UserError, one_line

_SCALES = ("mean", "std")
# Every one is a field of `Preprocessing`.
PREPROCESSING_FLAGS = (*_SCALES, "crop_fraction", "interpolation")


def define_preprocessing(left_out=(), **group):
    """Defines the flags of a command about a network that does not say how it takes its images.

    Args:
        left_out: names of `PREPROCESSING_FLAGS` that the command defines itself.
        **group: keywords of absl's `DEFINE_list`, `DEFINE_float` and `DEFINE_enum`.
    """
    of_three = "one number, or three separated by commas for red, green and blue"
    definitions = {
        "mean": (flags.DEFINE_list, f"Pixel value in 0..255 that the network takes as 0: {of_three}."),
        "std": (flags.DEFINE_list, f"Difference of pixel values in 0..255 that the network takes as 1: {of_three}."),
        "crop_fraction": (flags.DEFINE_float, "Center crop of the images, as a fraction of the shorter side."),
        "interpolation": (flags.DEFINE_enum, INTERPOLATIONS, "How images are resized."),
    }
    for name, (define, *further) in definitions.items():
        if name not in left_out:
            define(name, None, *further, **group)


def given_preprocessing(values):
    """Returns the values of the flags that are given.

    Args:
        values: `absl.flags.FlagValues`, parsed.

    Returns:
        A dict of fields of `Preprocessing`: `mean` and `std`, a float or a tuple of three, `crop_fraction`, a float,
        and `interpolation`.

    Raises:
        UserError: a value is no number, or out of the range of its field.
    """
    given = {name: values[name].value for name in PREPROCESSING_FLAGS if name in values}
    given = {name: value for name, value in given.items() if value is not None}
    given |= {name: _numbers(name, given[name]) for name in _SCALES if name in given}
    channels = 3 if any(isinstance(value, tuple) for value in given.values()) else 1
    try:
        Preprocessing((1, 1), channels, **{"mean": 0.0, "std": 1.0, **given})
    except ValueError as error:
        raise UserError(one_line(error)) from error
    return given


def _numbers(name, texts):
    try:
        numbers = tuple(map(float, texts))
    except ValueError:
        numbers = ()
    if not numbers:
        raise UserError(f"--{name} is a number, or three separated by commas. Received: {','.join(texts)!r}")
    return numbers[0] if len(numbers) == 1 else numbers
