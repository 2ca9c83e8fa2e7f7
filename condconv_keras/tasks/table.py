"""The tasks by name: a task's package is called as it is, and its module `task` ends with its `TASK`."""

from condconv_keras.facts.model_card import TASKS
from condconv_keras.utils.lazy import import_module


def get_task(name):
    """Returns the `Task` of this name; raises a ValueError for one that is not among `TASKS`."""
    if name not in TASKS:
        raise ValueError(f"`name` must be one of {TASKS}. Received: {name!r}")
    return import_module(f"condconv_keras.tasks.{name}.task").TASK


def all_tasks():
    """Returns the `Task`s, in the order of `TASKS`."""
    return tuple(map(get_task, TASKS))


def nouns_of(has):
    """Returns what messages call the models of the tasks that have something, as in "classifiers and detectors".

    Args:
        has: function of a `Task` that returns whether it has it.
    """
    return " and ".join(f"{task.noun}s" for task in all_tasks() if has(task))
