"""A functional model copied with counterparts in the places of some of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from condconv_keras.convert.counterparts import Counterpart, Part, counterpart_of
from condconv_keras.convert.graph import Place, graph_of
from condconv_keras.convert.selection import SharedRouter
from condconv_keras.layers import Routing
from condconv_keras.layers.copying import copy_graph
from condconv_keras.utils.annotations import Tensor
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.keras_graph import all_layers, is_graph, renew_normalizations
from condconv_keras.weights.expert_start import router_of


class Rewriting:
    """One conversion of a model: the new model, and what stands in the place of which layer.

    Args:
        model: functional or sequential model.
        places: those whose layers are replaced.
        routers: those that layers share, by the layers' ids.
        num_experts: of every layer.
        routing_options: of every router.

    Attributes:
        model: the new functional model. What is not replaced has the weights of the given one.
        parts: list of the `Part` of each new CondConv layer.

    Raises:
        UserError: as of `graph_of` and `counterpart_of`, or a layer with weights cannot be made again of its
            configuration.
    """

    def __init__(
        self,
        model: keras.Model,
        places: list[Place],
        routers: Mapping[int, SharedRouter],
        num_experts: int,
        routing_options: Mapping[str, Any],
    ) -> None:
        self.parts: list[Part] = []
        self._replaced = {id(place.layer): place for place in places}
        self._routers = routers
        self._shared: dict[SharedRouter, Tensor] = {}
        self._num_experts, self._options = num_experts, routing_options
        self._taken = {layer.name for layer in all_layers(model)}
        self._made: dict[int, Any] = {}
        self._copies: list[tuple[keras.Layer, keras.Layer]] = []
        self.model = self._copied(model)
        for layer, copy in self._copies:
            _put_weights(layer, copy)
        self._put_trainable_flags(model)
        renew_normalizations(self.model)

    def _copied(self, model: keras.Model) -> keras.Model:
        if any(id(layer) in self._replaced for layer in all_layers(model)):
            copy = copy_graph(graph_of(model), self._clone, self._call, recursive=False)
        else:
            # A sequential model stays one.
            copy = copy_graph(model, self._clone, recursive=False)
        self._made[id(model)] = copy
        return copy

    def _clone(self, layer: Any) -> Any:
        """What stands in the place of a layer or operation, the same where it is met again."""
        if id(layer) not in self._made:
            self._made[id(layer)] = self._new(layer)
        return self._made[id(layer)]

    def _new(self, layer: Any) -> Any:
        if id(layer) in self._replaced:
            options = None if id(layer) in self._routers else self._options
            calls = self._replaced[id(layer)].calls
            counterpart = counterpart_of(layer, calls, self._num_experts, options, self._free_name)
            self.parts += counterpart.parts
            return counterpart
        if is_graph(layer):
            return self._copied(layer)
        return self._same(layer)

    def _same(self, layer: Any) -> Any:
        """A copy of a layer that is not replaced; itself where it has no weights and cannot be copied."""
        if hasattr(layer, "save_assets"):
            # A vocabulary is no weight. A layer may be part of several models.
            return layer
        try:
            copy = type(layer).from_config(layer.get_config())
        except Exception as error:
            if not getattr(layer, "weights", None):
                # As a Lambda, whose code Keras reads from no configuration.
                return layer
            raise UserError(
                f"the layer {layer.name!r} cannot be copied, as {type(layer).__name__}.from_config does not take its "
                f"get_config(): {one_line(error)}"
            ) from error
        if isinstance(layer, keras.Layer) and layer.weights:
            self._copies.append((layer, copy))
        return copy

    def _call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(layer, Counterpart):
            return layer(*args, **kwargs)
        inputs = args[0] if args else kwargs["inputs"]
        shared = self._routers.get(id(layer.plain))
        return layer(inputs, None if shared is None else self._router(shared, layer))

    def _router(self, shared: SharedRouter, first: Counterpart) -> Callable[[Tensor], Tensor]:
        """The function of a feature map that returns the weights of a shared router: those of the first map it sees."""

        def weights(inputs: Tensor) -> Tensor:
            if shared not in self._shared:
                layer = first.parts[0].layer
                router = Routing(
                    self._num_experts,
                    data_format=layer.data_format,
                    dtype=layer.dtype_policy,
                    name=self._free_name(shared.name),
                    **self._options,
                )
                self._shared[shared] = router(inputs)
            return self._shared[shared]

        return weights

    def _put_trainable_flags(self, model: keras.Model) -> None:
        """Gives all copies the own flags of what they are copies of; a router that is shared is frozen with its layers.

        The flag of a layer goes to those inside it when it is set, so layers come before what they contain.
        """
        for layer in all_layers(model):
            copy = self._made.get(id(layer), layer)
            if isinstance(copy, Counterpart):
                for part in copy.parts:
                    part.layer.trainable = layer.trainable
                    for activation in (part.layer.activation, *copy.after):
                        if isinstance(activation, keras.Layer):
                            activation.trainable = layer.trainable
            elif copy is not layer and len(inner := all_layers(copy)) == len(own := all_layers(layer)):
                for new, old in zip(inner, own, strict=True):
                    if new.trainable != old.trainable:
                        new.trainable = old.trainable
        frozen: dict[int, bool] = {}
        for part in self.parts:
            router = router_of(part.layer)
            frozen[id(router)] = frozen.get(id(router), True) and not part.layer.trainable
            router.trainable = not frozen[id(router)]

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _put_weights(layer: keras.Layer, copy: keras.Layer) -> None:
    shapes = [[tuple(weight.shape) for weight in each.weights] for each in (layer, copy)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"the layer {layer.name!r} cannot be copied, as {type(layer).__name__}.from_config makes one of other "
            f"weights: shapes {shapes[1]}, not {shapes[0]}"
        )
    copy.set_weights(layer.get_weights())
