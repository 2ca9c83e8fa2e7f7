"""Any Keras model becomes a CondConv model: `to_condconv`.

`python -m condconv_keras.convert` does it with a stored model.
"""

from typing import TYPE_CHECKING

from condconv_keras.utils.lazy import attach

_HOME = {"to_condconv": "condconv_keras.convert.conversion"}

__all__ = ["to_condconv"]

if TYPE_CHECKING:
    from condconv_keras.convert.conversion import to_condconv
else:
    __getattr__, __dir__ = attach(__name__, _HOME)
