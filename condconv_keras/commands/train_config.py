"""The configuration that the flags of a training run ask for."""

import dataclasses
import os

from condconv_keras.commands.ignored_flags import check_ignored_flags
from condconv_keras.commands.model_flags import check_of_task
from condconv_keras.commands.train_flags import NONE, RECIPE_FLAGS
from condconv_keras.commands.trained_model import trained_model
from condconv_keras.data.dataset import VALIDATION_FRACTION
from condconv_keras.data.opening import embedded_names, is_folder
from condconv_keras.facts import old_names
from condconv_keras.models.saved_networks import is_saved_model
from condconv_keras.pretrained import IMAGENET
from condconv_keras.tasks.recipe import GENTLE_ROUTERS, Recipe
from condconv_keras.tasks.table import get_task
from condconv_keras.training.config import Execution, TrainConfig
from condconv_keras.training.recipes import default_recipe_name, get_recipe
from condconv_keras.training.rules import check_config
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import absolute_path


def config_from_flags(values):
    """Returns the configuration that flags ask for.

    Args:
        values: `absl.flags.FlagValues` with the flags of `condconv_keras.commands.train_flags`, parsed.

    Returns:
        A `TrainConfig`, and the set of the names of the flags that have another value than their default.

    Raises:
        UserError: a name or a combination that does not exist, a value out of range, or a flag that would be ignored.
    """
    model = trained_model(values)
    given = {name for name in values if values[name].value != values[name].default} - old_names.TRAIN_FLAGS.keys()
    dataset = values.dataset or embedded_names(get_task(model.task).dataset)[0]
    recipe_name = values.recipe or default_recipe_name(dataset, model.recipe, model.task)
    config = TrainConfig(
        **model.config_fields(values),
        dataset=absolute_path(dataset) if is_folder(dataset, values.data_dir) else dataset,
        data_dir=None if values.data_dir is None else absolute_path(values.data_dir),
        validation_fraction=VALIDATION_FRACTION if values.validation_fraction is None else values.validation_fraction,
        skip_bad_images=values.skip_bad_images,
        recipe_name=recipe_name,
        recipe=_recipe(recipe_name, model, values),
        precision=values.precision,
        seed=values.seed,
        weights=_weights(values.weights),
        execution=Execution(**{field.name: values[field.name].value for field in dataclasses.fields(Execution)}),
        task=model.task,
        apply_orientation=values.apply_orientation is not False,
        check_images=values.check_images,
    )
    check_ignored_flags(given, config, model.lacking_flags(values))
    check_config(config)
    return config, given


def _recipe(name, model, values):
    """The recipe of this name with the flags applied; the learning rate follows the batch size."""
    recipe = get_recipe(name, model.task)
    changes = {field: values[field].value for field in RECIPE_FLAGS if values[field].value is not None}
    for field in changes:
        check_of_task(field, get_task(model.task), lambda task, field=field: field in _fields(task))
    if changes.get("policy") == NONE:
        changes["policy"] = None
    changes.setdefault("input_size", model.input_size(recipe))
    if not model.starts_anew(values) or changes.get("expert_start", Recipe.expert_start) != Recipe.expert_start:
        # The recipe's routers are for experts that start with values of their own.
        for field in GENTLE_ROUTERS:
            changes.setdefault(field, getattr(Recipe, field))
    try:
        changed = dataclasses.replace(recipe, **changes)
    except ValueError as error:
        raise UserError(one_line(error)) from error
    if "learning_rate" in changes:
        return changed
    return dataclasses.replace(changed, learning_rate=recipe.learning_rate * changed.batch_size / recipe.batch_size)


def _fields(task):
    """The names of the fields of a task's recipes."""
    return {field.name for field in dataclasses.fields(task.recipe)}


def _weights(value):
    """What the run starts from: a path, `"imagenet"`, or None."""
    if value in (None, IMAGENET):
        return value
    # A SavedModel may be gone when its run goes on: what may be the path of a folder is looked at when a run starts.
    is_folder_path = os.sep in value and not os.path.splitext(value)[1]
    if not (value.endswith((".keras", ".weights.h5")) or is_saved_model(value) or is_folder_path):
        expected = "a .keras or a .weights.h5 file, or the folder of a SavedModel"
        raise UserError(f"--weights is {IMAGENET!r}, {expected}. Received: {value!r}")
    return absolute_path(value)
