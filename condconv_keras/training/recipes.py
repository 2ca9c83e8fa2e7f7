"""The training recipes of all tasks by name."""

from __future__ import annotations

import re

from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks.recipe import Recipe
from condconv_keras.tasks.table import all_tasks, get_task
from condconv_keras.utils.errors import UserError, unknown_name

RECIPES: dict[str, Recipe] = {name: recipe for task in all_tasks() for name, recipe in task.recipes.items()}


def get_recipe(name: str, task: str | None = None) -> Recipe:
    """Returns the recipe of this name.

    Args:
        name: one of `RECIPES`.
        task: task of the models that it is to be for, or None for any.

    Raises:
        UserError: there is none, and the message has close names; or it is for another task.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    if task is not None and name not in get_task(task).recipes:
        known = ", ".join(get_task(task).recipes)
        raise UserError(f"`recipe` of a {get_task(task).noun} is one of {known}. Received: {name!r}")
    return RECIPES[name]


def default_recipe_name(dataset: str, model_recipe: str, task: str = ModelCard.task) -> str:
    """The recipe of a run that names none: that of the data set's name; the model's for the paper's data, ImageNet and
    COCO; else the task's for any data."""
    kind, name = get_task(task), re.split("[/:]", dataset)[0]
    if name in kind.recipes:
        return name
    return model_recipe if name.startswith(kind.published_data) else kind.small_recipe
