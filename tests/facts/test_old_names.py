import dataclasses
import re

import pytest
from absl import flags

from condconv_keras.commands.train_flags import define_flags
from condconv_keras.facts import old_names
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.layers.forms import selection
from condconv_keras.models.placement import CondConvPlacement
from condconv_keras.training.config import TrainConfig


def test_old_names_are_read_as_those_of_today_in_their_order():
    fields = {"channels": 1, "offset": 127.0, "scale": 128.0}
    assert list(old_names.renamed(fields, old_names.PREPROCESSING).items()) == [
        ("channels", 1),
        ("mean", 127.0),
        ("std", 128.0),
    ]
    assert fields == {"channels": 1, "offset": 127.0, "scale": 128.0}


def test_names_of_today_stay():
    fields = {"channels": 1, "mean": 127.0, "std": 128.0}
    assert old_names.renamed(fields, old_names.PREPROCESSING) == fields


def test_a_field_under_both_names_is_refused():
    message = "expected 'mean' or 'offset', its old name. Received: both"
    with pytest.raises(ValueError, match=re.escape(message)):
        old_names.renamed({"offset": 127.0, "mean": 127.0}, old_names.PREPROCESSING)


def test_the_new_names_are_those_of_today_and_no_old_one_is():
    def fields(kind):
        return {field.name for field in dataclasses.fields(kind)}

    today = (
        (old_names.PREPROCESSING, fields(Preprocessing)),
        (old_names.MODEL_ARGUMENTS, fields(CondConvPlacement)),
        (old_names.RUN, fields(TrainConfig)),
        (old_names.IMPLEMENTATIONS, {*selection.implementations(True), *selection.implementations(False)}),
    )
    for names, known in today:
        assert names
        assert set(names.values()) <= known
        assert not names.keys() & known
    values = flags.FlagValues()
    define_flags(values)
    assert {*old_names.TRAIN_FLAGS, *old_names.TRAIN_FLAGS.values()} <= set(values)
