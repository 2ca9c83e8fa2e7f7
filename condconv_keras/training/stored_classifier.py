"""A run that trains a stored classifier: of this library or of any Keras user, as it is or with experts."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from condconv_keras.convert.conversion import converted
from condconv_keras.facts.class_names import same_classes
from condconv_keras.facts.model_card import CLASSIFICATION, ModelCard
from condconv_keras.facts.preprocessing import SCALING, Preprocessing
from condconv_keras.layers.routers import routers
from condconv_keras.models.found_scaling import found_scaling
from condconv_keras.models.heads import trained_alone, with_logits
from condconv_keras.models.network_text import build_network, network_text, put_weights
from condconv_keras.training import experts
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.keras_graph import all_layers, compute_in_float32

_BROUGHT = (*SCALING, "crop_fraction")
# What takes pixels keeps their 8 bits, and logits in 16 bits overflow the loss.
_IN_FLOAT32 = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.InputLayer, keras.Model)


@dataclasses.dataclass(frozen=True)
class StoredNetwork:
    """The network that a run trains in place of a registered one.

    Attributes:
        text: its `network_text`.
        place: what an error calls it.
        values: its weights at the start of the run, NumPy arrays; None where a checkpoint has them.
    """

    text: str
    place: str
    values: list[np.ndarray] | None = None

    @classmethod
    def of_run(cls, run: Any) -> StoredNetwork:
        """The network of a run that goes on; raises a `UserError` if it is lost.

        Args:
            run: `RunFolder`.
        """
        return cls(run.read_network(), repr(str(run.network)))

    def build(self) -> keras.Model:
        """Builds the network under the strategy whose scope is open; raises a `UserError` where that fails."""
        network = build_network(self.text, self.place)
        if self.values is not None:
            put_weights(network, self.values)
        return network


class StoredClassifier:
    """A stored classifier that a run starts from.

    Args:
        config: `TrainConfig` of a stored model.
        model: the Keras model, which is no longer what it was afterwards.
        card: its `ModelCard`, or None.

    Attributes:
        inherited: what the run takes from it, as JSON can hold it: `"model"`, the name in its card, and
            `"preprocessing"`, all fields of `Preprocessing` but `apply_orientation`.

    Raises:
        UserError: it is no classifier of images, or does not say how it takes their pixels.
    """

    def __init__(self, config: Any, model: keras.Model, card: ModelCard | None) -> None:
        self._config, self._model = config, model
        self._place = f"the model in {config.model!r}"
        self._check(card)
        self._class_names = () if card is None else card.class_names
        preprocessing = self._preprocessing(card)
        fields = {name: value for name, value in preprocessing.to_dict().items() if name != "apply_orientation"}
        self.inherited = {"model": model.name if card is None else card.model, "preprocessing": fields}

    def _check(self, card: ModelCard | None) -> None:
        model = self._model
        if card is not None and card.task != CLASSIFICATION:
            raise UserError(
                f"expected a classifier in `model`, {self._config.model!r} has the card of one for {card.task}: "
                "train a registered detector with its file as `weights`"
            )
        if not getattr(model, "outputs", None):
            raise UserError(f"expected a functional or sequential model that knows its input, {self._place} is none")
        shapes = [tuple(tensor.shape) for tensor in model.inputs]
        if len(shapes) > 1 or len(model.outputs) > 1 or len(shapes[0]) != 4 or shapes[0][-1] not in (1, 3):
            raise UserError(
                f"expected a model of one input [images, height, width, 1 or 3] and one output, {self._place} has "
                f"inputs {shapes} and {len(model.outputs)} outputs"
            )
        quantized = [layer.name for layer in all_layers(model) if getattr(layer, "quantization_mode", None)]
        if quantized:
            raise UserError(f"expected floating-point weights to train, the layer {quantized[0]!r} is quantized")

    def _preprocessing(self, card: ModelCard | None) -> Preprocessing:
        """How images are fed: as flags say it, else the card, else the network itself."""
        config = self._config
        known = {} if card is None else {name: getattr(card.preprocessing, name) for name in _BROUGHT}
        if not {"mean", "std"} & {*known, *config.preprocessing}:
            known |= found_scaling(self._model) or {}
        fields = {"crop_fraction": config.recipe.crop_fraction, **config.preprocessing}
        fields = known | {name: value for name, value in fields.items() if value is not None}
        if not {"mean", "std"} <= fields.keys():
            raise UserError(
                f"expected `mean` and `std` of the pixels that {self._place} takes, as in `mean=127.5` and `std=127.5` "
                "for -1..1: it has no card, and no Rescaling or Normalization that says it"
            )
        height, width, channels = self._model.inputs[0].shape[1:]
        try:
            preprocessing = Preprocessing(self._input_size(height, width, card), channels, **fields)
        except (TypeError, ValueError) as error:
            raise UserError(one_line(error)) from error
        dtype = self._model.inputs[0].dtype
        if not dtype.startswith(("float", "bfloat")) and (preprocessing.mean, preprocessing.std) != (0, 1):
            raise UserError(f"{self._place} takes pixels as {dtype}, which `mean` and `std` cannot scale")
        return preprocessing

    def _input_size(self, height: int | None, width: int | None, card: ModelCard | None) -> tuple[int, int]:
        given = self._config.recipe.input_size
        if given is not None:
            if {height, width} <= {None, given}:
                return given, given
            raise UserError(f"{self._place} takes images of {height}x{width} alone. Received: input_size={given}")
        if card is not None:
            height, width = height or card.preprocessing.input_size[0], width or card.preprocessing.input_size[1]
        if height is None or width is None:
            raise UserError(f"expected `input_size`: {self._place} takes images of any size")
        return height, width

    def network(self, plan: Any) -> StoredNetwork:
        """Returns the network that is trained; lines say what starts anew and what has experts.

        Args:
            plan: `TrainingPlan` with what the run inherits.

        Raises:
            UserError: its classifying layer is not found; layers cannot be converted; or experts are asked for that it
                has already, or that it lacks.
        """
        config, recipe = self._config, plan.recipe
        arguments = config.model_arguments
        # Stored in mixed precision, it is trained in that of the run.
        compute_in_float32(self._model)
        model = self._with_logits(plan.card, arguments.get("classifier_layer"), recipe.dropout_rate)
        has_experts = bool(routers(model))
        if "num_experts" in arguments:
            if has_experts:
                raise UserError(f"{self._place} has experts already: leave `num_experts` out to train them")
            conversion = converted(
                model,
                arguments["num_experts"],
                arguments.get("layers"),
                arguments.get("routing_per", "layer"),
                plan.router_images(),
                router_scale=recipe.router_scale,
                routing_options=experts.router_options(recipe),
            )
            print(conversion.text, file=sys.stderr)
            model = conversion.model
        elif has_experts:
            model = experts.with_recipe(model, recipe, starts_anew=False)
        elif config.execution.log_routing:
            raise UserError(f"`log_routing` is for networks with CondConv layers: {self._place} has none")
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization) and recipe.bn_momentum is not None:
                layer.momentum = recipe.bn_momentum
        if not model.trainable_weights:
            raise UserError(f"expected weights to train, all layers of {self._place} are frozen")
        _compute_in(model, config.precision, trained_alone(model, arguments.get("classifier_layer")))
        return StoredNetwork(network_text(model), self._place, model.get_weights())

    def _with_logits(self, card: ModelCard, layer_name: str | None, dropout_rate: float) -> keras.Model:
        """The model with a classifier of the card's classes, whose weights are new where the classes are others."""
        count, new_count = len(self._class_names), len(card.class_names)
        # Classes that are named by their index have no names.
        named = self._class_names and self._class_names != tuple(map(str, range(count)))
        differ = bool(named) and not same_classes(self._class_names, card.class_names)
        result = with_logits(self._model, new_count, differ, layer_name, dropout_rate)
        if result.is_new:
            print(
                f"the classifier {result.classifier!r} starts anew: {new_count} classes, those of {self._place} are "
                "others",
                file=sys.stderr,
            )
        return result.model


def _compute_in(model: keras.Model, precision: str, end: Collection[keras.Layer]) -> None:
    """Makes the layers of a network that compute in float32 do so in a precision of training, but for those at its end.

    Args:
        model: functional model.
        precision: one of `PRECISIONS`.
        end: layers.
    """
    kept = {id(inner) for layer in end for inner in all_layers(layer)}
    for layer in all_layers(model):
        if id(layer) not in kept and layer.dtype_policy.name == "float32" and not isinstance(layer, _IN_FLOAT32):
            layer.dtype_policy = precision
