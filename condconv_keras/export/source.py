"""What is exported: a run, a `.keras` file, or a registered model with published or random weights."""

import dataclasses
import pathlib
from collections.abc import Mapping

from condconv_keras.export.untrained import untrained_model
from condconv_keras.models import list_models, model_entry
from condconv_keras.pretrained import IMAGENET, pretrained_file, published_for
from condconv_keras.stored.predictor import load_carded, model_kind, model_task
from condconv_keras.training.config import TrainConfig
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import file_hash

UNTRAINED = "untrained"


@dataclasses.dataclass(frozen=True)
class Source:
    """A classifier or detector that is not loaded yet.

    Attributes:
        name: as it was given: a path or a registry name.
        kind: `"run"`, `"keras"`, `"imagenet"` or `"untrained"`.
        config: `TrainConfig` of a run, else None.
        arguments: keywords of `create_model` for a registered model.
        input_size: height and width of an untrained network's input, or None for the registered one.
        seed: of an untrained network's weights.
    """

    name: str
    kind: str
    config: TrainConfig | None = None
    arguments: Mapping = dataclasses.field(default_factory=dict)
    input_size: int | None = None
    seed: int = 0

    @property
    def is_trained(self):
        return self.kind != UNTRAINED

    @property
    def task(self):
        """One of `TASKS`; a `.keras` file without a card is taken for a classifier."""
        return model_task(self.name) if self.kind in ("run", "keras") else model_entry(self.name).task

    @property
    def is_plain(self):
        """Whether the network is known to have no CondConv layer, before it is loaded."""
        registered = self.config.model if self.kind == "run" else self.name
        return self.kind != "keras" and model_entry(registered).placement is None

    def load(self):
        """Returns the Keras model and its `ModelCard`; raises a `UserError` if the file or an argument is bad."""
        if self.is_trained:
            path = self._file()
            model, card = load_carded(path)
            if card.task != self.task:
                raise UserError(f"expected a model with a card, {str(path)!r} has none and is one for {card.task}")
            return model, card
        entry = model_entry(self.name)
        size = self.input_size or entry.input_size
        shape = (size, size, entry.channels)
        try:
            return untrained_model(self.name, self.seed, input_shape=shape, **self.arguments)
        except (TypeError, ValueError) as error:
            raise UserError(f"the model {self.name!r} cannot be built: {one_line(error)}") from error

    def to_dict(self):
        """Returns where the model comes from, as a dict that JSON can hold: of a trained one the file's SHA-256."""
        facts = {"name": self.name, "kind": self.kind}
        if self.arguments:
            facts["arguments"] = dict(self.arguments)
        if not self.is_trained:
            return {**facts, "seed": self.seed}  # the input's size is that of the card
        return {**facts, "sha256": file_hash(self._file())}

    def _file(self):
        """The `.keras` file; published weights are downloaded and converted once."""
        if self.kind == IMAGENET:
            return pretrained_file(self.name, self.arguments)
        return RunFolder(self.name).model if self.kind == "run" else self.name


def open_source(name, weights=None, arguments=None, input_size=None, seed=0):
    """Finds what a name means. A path that exists comes before a registered model.

    Args:
        name: path of a run folder or `.keras` file, or a registry name.
        weights: None, or `"imagenet"` for the published weights of the registered model.
        arguments: keywords of `create_model` for a registered model; published weights are chosen by them.
        input_size, seed: of an untrained network.

    Raises:
        UserError: it means nothing, or an export, or has no published weights.
    """
    arguments = arguments or {}
    if weights is not None:
        if weights != IMAGENET:
            raise UserError(f"`weights` is {IMAGENET!r}, or left out. Received: {weights!r}")
        published_for(name, arguments)
        return Source(name, IMAGENET, arguments=arguments)
    if not pathlib.Path(name).exists():
        if name in list_models():
            return Source(name, UNTRAINED, arguments=arguments, input_size=input_size, seed=seed)
        raise UserError(
            f"expected a run folder, .keras file or registered model, nothing lies at {name!r} and no model has this "
            "name; `python -m models` lists them"
        )
    kind = model_kind(name)
    if kind not in ("run", "keras"):
        raise UserError(f"expected a run folder or a .keras file, {name!r} is a {kind} export")
    return Source(name, kind, RunFolder(name).read_config() if kind == "run" else None)
