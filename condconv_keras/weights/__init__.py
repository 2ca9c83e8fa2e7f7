"""Weights of other code bases for the networks of the zoo: `python -m condconv_keras.weights --help`.

`open_source` reads a file, `assign_weights` puts it into a model, `import_weights` makes a `.keras` file of it;
`warm_start.warm_start` gives a CondConv model the weights of its plain twin. Importing this package imports no Keras
backend.
"""

from typing import TYPE_CHECKING

from condconv_keras.utils.lazy import attach

_HOME = {
    "WeightSource": "condconv_keras.weights.source",
    "assign_weights": "condconv_keras.weights.assign",
    "import_weights": "condconv_keras.weights.convert",
    "open_source": "condconv_keras.weights.opening",
}

__all__ = ["WeightSource", "assign_weights", "import_weights", "open_source"]

if TYPE_CHECKING:
    from condconv_keras.weights.assign import assign_weights
    from condconv_keras.weights.convert import import_weights
    from condconv_keras.weights.opening import open_source
    from condconv_keras.weights.source import WeightSource
else:
    __getattr__, __dir__ = attach(__name__, _HOME)
