import collections

import pytest

from benchmarks.verdict import verdict

Row = collections.namedtuple("Row", "model work batch precision ratio floor to_predict")
V1, B0 = "condconv_mobilenet_v1", "condconv_efficientnet_b0"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ""),
        ([Row(B0, "inference", 32, "float32", 9.0, 1.2, None)], ""),
        ([Row(V1, "inference", 32, "mixed_bfloat16", 9.0, 1.2, None)], ""),
        (
            [Row(V1, "inference", 32, "float32", 1.25, 1.2, None), Row(V1, "inference", 1, "float32", 9.0, 1.2, None)],
            "verdict: inference, batch 32, to plain at most 1.25: 1 of 1",
        ),
        (
            [
                Row(V1, "inference", 32, "float32", 1.26, 1.2, None),
                Row(V1, "saved_model", 32, "float32", 1.1, 1.2, 2.0),
                Row(B0, "saved_model", 1, "float32", 9.0, 1.2, 1.06),
                Row(V1, "saved_model", 1, "float32", 9.0, None, 1.05),
            ],
            "verdict: inference, batch 32, to plain at most 1.25: 0 of 1 (missed by mobilenet_v1 1.26, floor 1.20); "
            "SavedModel, batch 32, to plain at most 1.25: 1 of 1; "
            "SavedModel, batch 1, to predict at most 1.05: 1 of 2 (missed by efficientnet_b0 1.06)",
        ),
    ],
)
def test_the_line_says_which_targets_are_missed(rows, expected):
    assert verdict(rows) == expected
