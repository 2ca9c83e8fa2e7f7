import ast
import json
import math

import numpy as np

from condconv_keras.utils.json_text import json_text
from tests.processes import ROOT


def read_strictly(text):
    """Reads JSON as RFC 8259 defines it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_is_null():
    value = {"nan": math.nan, "rows": [(1.5, math.inf), [-math.inf, {"deep": np.float64("nan")}]], "n": 3, "no": None}
    expected = {"nan": None, "rows": [[1.5, None], [None, {"deep": None}]], "n": 3, "no": None}
    assert read_strictly(json_text(value)) == expected
    assert json_text(value, indent=None, sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_text_of_any_kind_is_ascii_and_read_again():
    names = ["Löwe", "猫", "caf\udce9", 'a "quote"']
    assert json_text(names).isascii()
    assert json.loads(json_text(names)) == names


def test_json_is_written_in_one_place():
    written = {
        path.relative_to(ROOT).as_posix()
        for folder in ("condconv_keras", "scripts", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.dump", "json.dumps")
    }
    assert written == {"condconv_keras/utils/json_text.py"}
