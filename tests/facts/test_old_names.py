import re

import pytest

from condconv_keras.facts import old_names


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
