import dataclasses
import typing

import pytest

from condconv_keras.utils.typed_fields import check_types


@dataclasses.dataclass
class Inner:
    count: int = 1


@dataclasses.dataclass
class Outer:
    text: str = "a"
    number: float = 1.5
    yes: bool = True
    size: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    scale: float | tuple[float, ...] = 1
    pairs: list[list[int]] = dataclasses.field(default_factory=list)
    options: dict | None = None
    inner: Inner | None = None
    mode: typing.Literal["fast", "exact"] | None = "fast"
    postponed: "int | None" = None  # as in modules that import annotations from the future


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mode": "exact", "postponed": 3},
        {"mode": None, "postponed": None},
        {"number": 2, "scale": (1, 0.5), "names": ("a", "b")},
        {"options": {"a": 1}, "inner": Inner(), "pairs": [[1, 2], []]},
    ],
)
def test_what_is_of_the_types(fields):
    check_types(Outer(**fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", 1),
        ("text", None),
        ("number", "1"),
        ("number", True),
        ("number", 10**400),
        ("yes", 1),
        ("size", (1,)),
        ("size", (1, 2.0)),
        ("size", [1, 2]),
        ("names", (1,)),
        ("scale", ("1",)),
        ("pairs", [[1.5]]),
        ("pairs", [1]),
        ("options", []),
        ("inner", {}),
        ("mode", "slow"),
        ("mode", 1),
        ("mode", ["fast"]),
        ("postponed", "3"),
    ],
)
def test_what_is_not(field, value):
    with pytest.raises(TypeError, match=f"`{field}` is of the type .*Received"):
        check_types(Outer(**{field: value}))
