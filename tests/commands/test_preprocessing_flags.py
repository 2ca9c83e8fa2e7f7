"""The flags that say how a network of somebody else takes its images."""

import pytest
from absl import flags

from condconv_keras.commands.preprocessing_flags import (
    PREPROCESSING_FLAGS,
    define_preprocessing,
    given_preprocessing,
)
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.utils.errors import UserError
from tests.docs.openings import bad_openings


def _given(*arguments, **options):
    values = flags.FlagValues()
    define_preprocessing(flag_values=values, **options)
    values(["command", *arguments])
    return given_preprocessing(values)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--mean=127.5"], {"mean": 127.5}),
        (["--mean=-1", "--std=1e2"], {"mean": -1.0, "std": 100.0}),
        (["--mean=123.68, 116.78,103.94"], {"mean": (123.68, 116.78, 103.94)}),
        (["--mean=0", "--std=58.4,57.1,57.4"], {"mean": 0.0, "std": (58.4, 57.1, 57.4)}),
        (["--crop_fraction=0.875", "--interpolation=bilinear"], {"crop_fraction": 0.875, "interpolation": "bilinear"}),
    ],
)
def test_what_is_given_is_parsed(arguments, expected):
    given = _given(*arguments)
    assert given == expected
    # A value of each is one that a preprocessing of three channels takes.
    Preprocessing((8, 8), 3, **{"mean": 0.0, "std": 1.0, **given})


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--mean=a", "--mean is a number, or three separated by commas. Received: 'a'"),
        ("--std=1,,2", "--std is a number, or three separated by commas. Received: '1,,2'"),
        ("--mean=", "--mean is a number, or three separated by commas. Received: ''"),
        ("--mean=1,2", r"`mean` has one number for each of 3 channels. Received: \(1.0, 2.0\)"),
        ("--mean=inf", "`mean` is a finite number"),
        ("--std=0", "`std` is a finite number other than 0"),
        ("--std=1,0,1", "`std` is a finite number other than 0"),
        ("--crop_fraction=0", r"`crop_fraction` is in \(0, 1\]. Received: 0.0"),
        ("--crop_fraction=nan", "`crop_fraction` is in"),
    ],
)
def test_a_bad_value_is_one_line(argument, message):
    with pytest.raises(UserError, match=message) as refusal:
        _given(argument)
    assert "\n" not in str(refusal.value)


def test_a_command_may_have_one_of_its_own():
    assert _given("--mean=1", left_out=["crop_fraction"]) == {"mean": 1.0}
    with pytest.raises(flags.Error, match="crop_fraction"):
        _given("--crop_fraction=0.5", left_out=["crop_fraction"])


def test_the_help_reads_as_sentences():
    values = flags.FlagValues()
    define_preprocessing(module_name="Images", flag_values=values)
    assert set(values) >= set(PREPROCESSING_FLAGS)
    assert [bad for name in PREPROCESSING_FLAGS for bad in bad_openings(values[name].help.rpartition(">: ")[2])] == []
