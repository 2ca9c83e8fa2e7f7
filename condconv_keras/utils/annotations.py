"""Names of types that annotations in several places share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    import keras

# What Keras computes with, for which it has no one type: a tensor of its backend, a symbolic one, a NumPy array.
Tensor: TypeAlias = Any
# Sizes of the axes; None is an axis of any size.
Shape: TypeAlias = tuple[int | None, ...]
# What `keras.initializers.get` and its like take: a name, a configuration, or the object itself.
Identifier: TypeAlias = str | dict[str, Any] | Callable[..., Any]
# Height and width, or one number for both.
Pair: TypeAlias = int | tuple[int, int] | list[int]
DataFormat: TypeAlias = Literal["channels_last", "channels_first"]
# A model or a layer, where the same is returned.
LayerLike = TypeVar("LayerLike", bound="keras.Layer")
Padding: TypeAlias = Literal["valid", "same"]
