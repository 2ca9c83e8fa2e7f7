"""The packages that a run takes, asked for before its work."""

from condconv_keras.data.augment import policies
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.lazy import require

# Of the run folder: checkpoints, and curves.png, which is drawn when all epochs are trained.
_RUN_FOLDER = ("safetensors", "matplotlib")


def require_step(config):
    """Raises a `MissingPackage` unless the packages of a training step are installed; imports none.

    Args:
        config: `TrainConfig`.
    """
    get_task(config.task).require()
    if config.recipe.policy is not None:
        policies.require_packages()


def require_run(config):
    """Raises a `MissingPackage` unless the packages of a whole run are installed; arguments as of `require_step`."""
    require_step(config)
    get_task(config.task).require_metrics()
    require(*_RUN_FOLDER)
