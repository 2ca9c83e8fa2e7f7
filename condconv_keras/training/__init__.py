"""Training: recipes, run configuration, run folder and the fit itself.

`get_recipe` returns a `Recipe`, `TrainConfig` describes a run, `train` trains it into a `RunFolder`.
"""

from typing import TYPE_CHECKING

from condconv_keras.utils.lazy import attach

_HOME = {
    "Execution": "condconv_keras.training.config",
    "Recipe": "condconv_keras.tasks.recipe",
    "RunFolder": "condconv_keras.training.run_folder",
    "TrainConfig": "condconv_keras.training.config",
    "get_recipe": "condconv_keras.training.recipes",
    "train": "condconv_keras.training.fit",
}

__all__ = ["Execution", "Recipe", "RunFolder", "TrainConfig", "get_recipe", "train"]

if TYPE_CHECKING:
    from condconv_keras.tasks.recipe import Recipe
    from condconv_keras.training.config import Execution, TrainConfig
    from condconv_keras.training.fit import train
    from condconv_keras.training.recipes import get_recipe
    from condconv_keras.training.run_folder import RunFolder
else:
    __getattr__, __dir__ = attach(__name__, _HOME)
