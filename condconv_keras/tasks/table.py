"""The tasks by name."""

from condconv_keras.facts.model_card import TASKS
from condconv_keras.tasks.classification import task as classification
from condconv_keras.tasks.detection import task as detection

_TASKS = dict(zip(TASKS, (classification.TASK, detection.TASK), strict=True))


def get_task(name):
    """Returns the `Task` of this name; raises a ValueError for one that is not among `TASKS`."""
    if name not in _TASKS:
        raise ValueError(f"`name` must be one of {TASKS}. Received: {name!r}")
    return _TASKS[name]
