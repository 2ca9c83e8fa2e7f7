"""One training run as data: what `train.py` was asked for, resolved, and written to `config.json`."""

import dataclasses
import json

from condconv_keras.data import open_dataset
from condconv_keras.errors import UserError
from condconv_keras.training.recipes import Recipe

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result of a run.

    Attributes:
        model: registry name.
        model_arguments: keywords of `create_model` that the user gave, such as `num_experts`.
        dataset, data_dir, validation_fraction, skip_bad_images: as in `condconv_keras.data.open_dataset`.
        recipe_name: name of the recipe that `recipe` started from.
        recipe: `Recipe`, flags applied.
        precision: one of `PRECISIONS`.
        seed: integer.
        initial_weights: path of a `.keras` or `.weights.h5` file to start from, or None.
        inherited: what the model in `initial_weights` asks of this one, as `InitialModel.inherited`, or None. It is
            found when the run starts, so it is not compared with what a later command asks for.
    """

    model: str
    model_arguments: dict
    dataset: str
    data_dir: str | None
    validation_fraction: float
    skip_bad_images: bool
    recipe_name: str
    recipe: Recipe
    precision: str
    seed: int
    initial_weights: str | None
    inherited: dict | None = None

    def to_json(self):
        """Returns the configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text):
        """Returns the configuration of a `to_json` text; raises a `UserError` if it is not one."""
        try:
            fields = json.loads(text)
            return cls(**{**fields, "recipe": Recipe(**fields["recipe"])})
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"expected the config.json of a training run: {error}") from error

    def differences(self, other):
        """Returns the names of the fields that differ, those of the recipe as `recipe.<name>`."""
        mine, theirs = (_flat(dataclasses.asdict(config)) for config in (self, other))
        return sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))


def open_run_dataset(config, name, data_dir, validation_fraction, skip_bad_images):
    """Opens the data set of a command about a run: what the command leaves open is the run's.

    Args:
        config: `TrainConfig` of the run, or None if the model is not one of a run.
        name, data_dir, validation_fraction: as in `condconv_keras.data.open_dataset`, or None for the run's.
        skip_bad_images: whether undecodable images are left out; they are, too, where the run left them out.

    Returns:
        An `ImageDataset`.

    Raises:
        UserError: there is neither a name nor a run, or the data set cannot be opened.
    """
    if name is None and config is None:
        raise UserError("--dataset is needed: only a run folder says which data it was trained on")
    if config is not None and name in (None, config.dataset):
        name = config.dataset
        data_dir = data_dir or config.data_dir
        skip_bad_images = skip_bad_images or config.skip_bad_images
        if validation_fraction is None:
            validation_fraction = config.validation_fraction
    return open_dataset(name, data_dir, 0.2 if validation_fraction is None else validation_fraction, skip_bad_images)


def _flat(fields):
    nested = {f"{name}.{k}": v for name in ("recipe", "model_arguments") for k, v in fields[name].items()}
    return {**{k: v for k, v in fields.items() if k not in ("recipe", "model_arguments", "inherited")}, **nested}
