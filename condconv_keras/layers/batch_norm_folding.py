"""Networks for inference, whose batch normalizations are part of the kernels, or experts, before them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Any

import keras
from keras import activations

from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.layers.copying import copy_graph, copy_weights, finished_copy
from condconv_keras.layers.folding import fold_routing
from condconv_keras.layers.normalized_parts import Part, find_parts
from condconv_keras.utils.errors import one_line
from condconv_keras.utils.keras_graph import all_layers, is_graph
from condconv_keras.utils.lazy import tensorflow as tf
from condconv_keras.utils.scaled_weights import scaled

# Rules of training, which are for the weights before they are scaled.
_RULES = ("kernel", "depthwise", "bias")


def fold(model: keras.Model) -> keras.Model:
    """Returns a network for inference that computes the same with fewer operations and the same multiply-adds.

    Each batch normalization that alone reads the output of a convolution or of a dense layer becomes part of its kernel
    or of its experts, and of a bias that all examples share; an elementwise activation behind it becomes the layer's.
    Options of the routers are folded as of `condconv_keras.layers.fold_routing`. The commands `eval.py`, `predict.py`
    and `analyze.py` and exported SavedModels compute the folded network.

    Args:
        model: built functional or sequential Keras model; the layers may lie in models inside it. It stays as it is.

    Returns:
        A copy of other variables and of the same names of layers, for inference only, on every backend; what became
        part of another layer is an `Identity`. It can be saved, and is not compiled. Its outputs differ by rounding. It
        has the card of a model that has one (`condconv_keras.card_of`). LiteRT's converter takes the model itself, not
        the copy.

    Raises:
        ValueError: the model is neither functional nor sequential, a layer cannot be built again from its configuration
            or has a state that is no weight, or as of `fold_routing`.

    Examples:
        >>> model = condconv_keras.create_model("condconv_mobilenet_v2", weights="imagenet.keras")
        >>> probabilities = condconv_keras.fold(model).predict(images)
    """
    return folded(fold_routing(model)).model


@dataclasses.dataclass(frozen=True, eq=False)
class Folded:
    """A folded network.

    Attributes:
        model: the network.
        before: the one that it is the copy of.
        layers: list of (layer of the network before, its copy); the copy of what vanished is an `Identity`.
        parts: list of `Part`, of the network before.
    """

    model: keras.Model
    before: keras.Model
    layers: list[tuple[Any, Any]]
    parts: list[Part]

    @functools.cached_property
    def variables(self) -> list[tuple[keras.Variable, Part | None]]:
        """For each of `before.weights` the variable that has its value, and the part by whose scale it is multiplied.

        The variable is one of the folded network, but for what cannot be told from those to the bit: statistics, biases
        and kernels that are not float32.
        """
        parts = {id(part.layer): part for part in self.parts}
        found: dict[int, tuple[keras.Variable, Part | None]] = {}
        for layer, new in self.layers:
            if type(new) is not type(layer):
                continue
            part = parts.get(id(layer))
            if part is None:
                pairs = list(zip(layer.weights, new.weights, strict=True))
            elif layer.variable_dtype != "float32":
                pairs = []
            elif isinstance(layer, BaseCondConv2D):
                pairs = [(layer.bank, new.bank)] + ([(layer.bias, new.bias)] if layer.bias is not None else [])
            else:
                pairs = [(layer.kernel, new.kernel)]
            found |= {id(old): (copy, part) for old, copy in pairs}
            if part is not None and getattr(layer, "router", None) is not None:
                routed = zip(layer.router.weights, new.router.weights, strict=True)
                found |= {id(old): (copy, None) for old, copy in routed}
        return [found.get(id(weight), (weight, None)) for weight in self.before.weights]


def folded_if_possible(model: keras.Model, conditional_only: bool = False) -> Folded:
    """As of `folded`; the model itself in place of its copy where a layer cannot be copied, or there is nothing to do.

    Args:
        model: Keras model, of any kind.
        conditional_only: as of `folded`.
    """
    kinds = BaseCondConv2D if conditional_only else (BaseCondConv2D, keras.layers.BatchNormalization)
    if is_graph(model) and any(isinstance(layer, kinds) for layer in all_layers(model)):
        with contextlib.suppress(ValueError):
            return folded(model, conditional_only)
    return Folded(model, model, [], [])


def folded(model: keras.Model, conditional_only: bool = False) -> Folded:
    """Returns the `Folded` network of a model, as of `fold`, whose routers have no options.

    Args:
        model: as of `fold`.
        conditional_only: whether only CondConv layers take batch normalizations up, and choose their forms as before.
    """
    if not is_graph(model):
        raise ValueError(f"A functional or sequential model can be folded. Received: {model.name!r}")
    parts = [part for part in find_parts(model) if isinstance(part.layer, BaseCondConv2D) or not conditional_only]
    by_layer = {id(part.layer): part for part in parts}
    absorbed = {id(layer) for part in parts for layer in (part.normalization, part.activation)}
    copies: dict[int, tuple[Any, Any]] = {}

    def clone(layer: Any) -> Any:
        if id(layer) not in copies:
            copies[id(layer)] = layer, new_layer(layer)
        return copies[id(layer)][1]

    def new_layer(layer: Any) -> Any:
        if id(layer) in absorbed:
            return keras.layers.Identity(name=layer.name, dtype=layer.compute_dtype)
        if is_graph(layer):
            return copy_model(layer)
        config = _config(layer)
        if isinstance(layer, BaseCondConv2D) and config["implementation"] == "auto" and not conditional_only:
            config["implementation"] = "serving"
        if id(layer) in by_layer:
            config |= _folded_config(by_layer[id(layer)], config)
        try:
            return type(layer).from_config(config)
        except Exception as error:
            # Of a user's class: its configuration need not be whole.
            raise _no_copy(layer, error) from error

    def copy_model(model: keras.Model) -> keras.Model:
        return copy_graph(model, clone, None if isinstance(model, keras.Sequential) else _call, recursive=False)

    copy = copy_model(model)
    pairs = [pair for pair in copies.values() if not is_graph(pair[0]) and isinstance(pair[0], keras.Layer)]
    for layer, new in pairs:
        if id(layer) in by_layer:
            _put_folded(by_layer[id(layer)], new)
        elif id(layer) not in absorbed:
            copy_weights(layer, new)
    return Folded(finished_copy(copy, model), model, pairs, parts)


def _call(layer: Any, *args: Any, **options: Any) -> Any:
    """Calls the copy of a layer; that of a batch normalization takes no options."""
    if type(layer) is keras.layers.Identity:
        return layer(args[0] if args else options["inputs"])
    return layer(*args, **options)


def _config(layer: Any) -> dict[str, Any]:
    _check_state(layer)
    try:
        return layer.get_config()
    except NotImplementedError as error:
        raise _no_copy(layer, error) from error


def _no_copy(layer: Any, error: Exception) -> ValueError:
    return ValueError(
        f"A network is folded whose layers can be built again from their configurations. Received: the layer "
        f"{layer.name!r}: {one_line(error, 200)}"
    )


def _check_state(layer: Any) -> None:
    """Raises a `ValueError` for a layer that has more to copy than weights."""
    for inner in all_layers(layer) if isinstance(layer, keras.Layer) else ():
        stores = type(inner).save_own_variables
        if hasattr(inner, "save_assets") or not stores.__module__.startswith(("keras.", "condconv_keras.")):
            raise ValueError(f"A network is folded whose layers have weights alone to copy. Received: {inner.name!r}")


def _folded_config(part: Part, config: dict[str, Any]) -> dict[str, Any]:
    """What changes in the configuration of a layer."""
    changed: dict[str, Any] = {"activation": activations.serialize(part.function())}
    for name in _RULES:
        rules = {f"{name}_initializer": "zeros", f"{name}_regularizer": None, f"{name}_constraint": None}
        changed |= {rule: value for rule, value in rules.items() if rule in config}
    if "activity_regularizer" in config:
        changed["activity_regularizer"] = None  # for what the layer returned before
    return changed | {"use_shared_bias" if isinstance(part.layer, BaseCondConv2D) else "use_bias": True}


def _put_folded(part: Part, new: Any) -> None:
    """Gives the copy of a layer its scaled weights."""
    layer, (scale, shift) = part.layer, part.scale_and_shift()
    if isinstance(layer, BaseCondConv2D):
        _put_scaled_bank(layer.bank, new.bank, scale)
        if layer.bias is not None:
            _put_scaled_bank(layer.bias, new.bias, scale)
        if layer.router is not None:
            copy_weights(layer.router, new.router)
        new.shared_bias.assign(shift)
        return
    new.kernel.assign(scaled(keras.ops.convert_to_numpy(layer.kernel), scale))
    new.bias.assign(shift if layer.bias is None else shift + keras.ops.convert_to_numpy(layer.bias) * scale)


def _put_scaled_bank(bank: keras.Variable, new: keras.Variable, scale: Any) -> None:
    """Gives a bank the scaled experts of another; of a large one TensorFlow has a single expert more at a time."""
    if keras.backend.backend() != "tensorflow":
        new.assign(scaled(keras.ops.convert_to_numpy(bank), scale))
        return
    for i in range(bank.shape[0]):
        expert = scaled(keras.ops.convert_to_numpy(bank.value[i])[None], scale)
        new.value.scatter_update(tf.IndexedSlices(expert, [i]))
    # From its first partial update on, every reader of a variable would get a copy of it.
    tf.raw_ops.DisableCopyOnRead(resource=new.value.handle)
