"""Weights of other code bases for the networks of the zoo: `python -m condconv_keras.weights --help`.

`open_source` reads a file, `assign_weights` puts it into a model, `import_weights` makes a `.keras` file of it.
Importing this package imports no Keras backend.
"""

from condconv_keras.weights.convert import import_weights
from condconv_keras.weights.opening import open_source
from condconv_keras.weights.source import WeightSource

__all__ = ["WeightSource", "import_weights", "open_source"]
