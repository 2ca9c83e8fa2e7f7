"""What `CondConv2D` and `DepthwiseCondConv2D` share: arguments, routing, bank, bias and checks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self

import keras
from keras import activations, constraints, initializers, ops, regularizers

from condconv_keras.facts import old_names
from condconv_keras.layers.expert_bank import PerExpertConstraint, PerExpertInitializer, PerExpertRegularizer
from condconv_keras.layers.forms import selection
from condconv_keras.layers.forms.finish import NOTHING, Finish, is_elementwise
from condconv_keras.layers.forms.geometry import ConvGeometry
from condconv_keras.layers.forms.portable import ConvSpec, without_stride
from condconv_keras.layers.routing import (
    Routing,
    routing_dtype,
    standardize_count,
    standardize_data_format,
)
from condconv_keras.layers.routing_options import standardize_options
from condconv_keras.utils.annotations import DataFormat, Identifier, Padding, Pair, Shape, Tensor


class BaseCondConv2D(keras.layers.Layer):
    """Conditionally parameterized 2D convolution (private, the base of the two layers).

    A subclass defines `depthwise`, `bank_name`, `kernel_argument` and `_spec(channels)`. What Keras calls
    `kernel_initializer` for a convolution and `depthwise_initializer` for a depthwise one has that name here, too.

    Args:
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, kernel_*, bias_*,
            activity_regularizer: as in `keras.layers.Conv2D`. Initializer, regularizer and constraint of the kernel
            and of the bias see one expert at a time.
        num_experts: positive integer.
        implementation: `"auto"`, `"serving"` or the name of a form.
        routing_options: dict of arguments of `Routing` for training, of the layer's own router, or None.
        use_shared_bias: whether there is a bias, after the mixed one, that is the same for every example.
    """

    depthwise = False
    bank_name = "condconv_kernel"
    kernel_argument = "kernel"

    def __init__(
        self,
        kernel_size: Pair,
        num_experts: int,
        strides: Pair,
        padding: Padding,
        data_format: DataFormat | None,
        dilation_rate: Pair,
        activation: Identifier | None,
        use_bias: bool,
        kernel_initializer: Identifier,
        bias_initializer: Identifier,
        kernel_regularizer: Identifier | None,
        bias_regularizer: Identifier | None,
        activity_regularizer: Identifier | None,
        kernel_constraint: Identifier | None,
        bias_constraint: Identifier | None,
        implementation: str,
        groups: int = 1,
        routing_options: Mapping[str, Any] | None = None,
        use_shared_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        # Keras would cast the routing weights to the low precision of a mixed policy.
        super().__init__(activity_regularizer=activity_regularizer, autocast=False, **kwargs)
        self.num_experts = standardize_count(num_experts, "num_experts")
        self.kernel_size = _pair(kernel_size, "kernel_size")
        self.strides = _pair(strides, "strides")
        self.dilation_rate = _pair(dilation_rate, "dilation_rate")
        self.padding = str(padding).lower()
        self.data_format = standardize_data_format(data_format)
        self.groups = standardize_count(groups, "groups")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self._set_kernel("initializer", initializers.get(kernel_initializer or "glorot_uniform"))
        self.bias_initializer = initializers.get(bias_initializer or "zeros")
        self._set_kernel("regularizer", regularizers.get(kernel_regularizer))
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self._set_kernel("constraint", constraints.get(kernel_constraint))
        self.bias_constraint = constraints.get(bias_constraint)
        self.implementation = implementation
        self.routing_options = standardize_options(routing_options)
        self.use_shared_bias = use_shared_bias
        # Every pixel stays what it was masked as, as of `keras.layers.Dense`, which this one may stand for.
        self.supports_masking = max(*self.kernel_size, *self.strides) == 1
        if self.padding not in ("valid", "same"):
            raise ValueError(f"`padding` must be 'valid' or 'same'. Received: padding={padding!r}")
        selection.check_implementation(implementation, self.depthwise, self.groups, self.strides)
        self.router: Routing | None = None
        self.spec: Any = None  # the `ConvSpec` of the built layer

    def _set_kernel(self, rule: str, value: Any) -> None:
        setattr(self, f"{self.kernel_argument}_{rule}", value)

    def _get_kernel(self, rule: str) -> Any:
        return getattr(self, f"{self.kernel_argument}_{rule}")

    def build(self, inputs_shape: Shape, routing_weights_shape: Shape | None = None) -> None:
        # Checks the shapes: an output without pixels raises here, too.
        self.compute_output_shape(inputs_shape, routing_weights_shape)
        channels = inputs_shape[self._channel_axis]
        if channels is None:
            raise ValueError(
                f"The channels of the input must be known. Received: inputs.shape={tuple(inputs_shape)}, "
                f"data_format={self.data_format!r}"
            )
        self.spec = self._spec(channels)
        if routing_weights_shape is None:
            self.router = Routing(
                self.num_experts,
                data_format=self.data_format,
                dtype=self.dtype_policy,
                name="router",
                trainable=self.trainable,
                **self.routing_options,
            )
            self.router.build(inputs_shape)
        self.bank = self._add_bank(
            self.bank_name,
            self.spec.expert_shape,
            *(self._get_kernel(rule) for rule in ("initializer", "regularizer", "constraint")),
        )
        self.bias = None
        if self.use_bias:
            rules = self.bias_initializer, self.bias_regularizer, self.bias_constraint
            self.bias = self._add_bank("condconv_bias", (self.spec.filters,), *rules)
        self.shared_bias = None
        if self.use_shared_bias:
            self.shared_bias = self.add_weight(
                name="shared_bias", shape=(self.spec.filters,), initializer="zeros", autocast=False
            )

    def _add_bank(
        self,
        name: str,
        expert_shape: tuple[int, ...],
        initializer: Callable[..., Any],
        regularizer: Callable[..., Any] | None,
        constraint: Callable[..., Any] | None,
    ) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(self.num_experts, math.prod(expert_shape)),
            initializer=PerExpertInitializer(initializer, expert_shape),
            regularizer=regularizer and PerExpertRegularizer(regularizer, expert_shape),
            constraint=constraint and PerExpertConstraint(constraint, expert_shape),
            autocast=False,
        )

    def call(self, inputs: Tensor, routing_weights: Tensor | None = None, training: bool = False) -> Tensor:
        self.compute_output_shape(inputs.shape, None if routing_weights is None else routing_weights.shape)
        if routing_weights is None:
            routing_weights = self.router(inputs)  # type: ignore[misc]  # it has one: checked above
        dtype = routing_dtype(self.compute_dtype)
        routing_weights = ops.cast(routing_weights, dtype)
        x = ops.cast(inputs, self.compute_dtype)
        if self.data_format == "channels_first":
            x = ops.transpose(x, (0, 2, 3, 1))
        x, spec = without_stride(x, self.spec)
        bank = ops.cast(ops.convert_to_tensor(self.bank), dtype)
        outputs = self._convolve(x, routing_weights, bank, spec, training)
        if self.data_format == "channels_first":
            outputs = ops.transpose(outputs, (0, 3, 1, 2))
        return outputs if is_elementwise(self.activation) else self.activation(outputs)

    def _convolve(self, x: Tensor, routing_weights: Tensor, bank: Tensor, spec: ConvSpec, training: bool) -> Tensor:
        """The outputs, channels_last, with what follows the convolution but for an activation of several elements."""
        activation = self.activation if is_elementwise(self.activation) else activations.linear
        shared = None if self.shared_bias is None else ops.cast(self.shared_bias, self.compute_dtype)
        finish = NOTHING if shared is None and activation is activations.linear else Finish(shared, activation)
        if self.bias is None:
            return self._form(x.shape, spec, training)(x, routing_weights, bank, spec, finish)
        outputs = self._form(x.shape, spec, training)(x, routing_weights, bank, spec, NOTHING)
        bias = ops.cast(ops.matmul(routing_weights, ops.cast(self.bias, bank.dtype)), self.compute_dtype)
        # Not `ops.add`, which takes the biases of an empty batch for those of a plain convolution on TensorFlow.
        return finish(outputs + ops.reshape(bias, (-1, 1, 1, self.spec.filters)))

    def _form(self, shape: Shape, spec: ConvSpec, training: bool) -> Callable[..., Tensor]:
        """The function of a form's arguments and of a `Finish`."""
        name, (batch, *size, _) = self.implementation, shape
        if name == "serving" and batch is None and not training:
            batch = selection.USUAL_BATCH
        if name in selection.CHOICES:
            name = selection.select_form(spec, self.num_experts, batch, size, bool(training), self.compute_dtype)
        return selection.finished_form(name, bool(training))

    def compute_output_shape(self, inputs_shape: Shape, routing_weights_shape: Shape | None = None) -> Shape:
        self._check_inputs(inputs_shape)
        self._check_routing(inputs_shape, routing_weights_shape)
        channels_last = self.data_format == "channels_last"
        batch, height, width = (inputs_shape[i] for i in ((0, 1, 2) if channels_last else (0, 2, 3)))
        spec = self._spec(inputs_shape[self._channel_axis])
        selection.check_size(self.implementation, spec.geometry, height, width)
        rows, columns = (
            None if size is None else spec.geometry.output_size(size, size)[axis]
            for axis, size in enumerate((height, width))
        )
        for size in (rows, columns):
            if size is not None and size < 1:
                raise ValueError(
                    f"The output would have no pixels. Received: inputs.shape={tuple(inputs_shape)}, kernel_size="
                    f"{self.kernel_size}, dilation_rate={self.dilation_rate}, padding={self.padding!r}"
                )
        if channels_last:
            return (batch, rows, columns, spec.filters)
        return (batch, spec.filters, rows, columns)

    def _geometry(self) -> ConvGeometry:
        return ConvGeometry(self.kernel_size, self.strides, self.padding, self.dilation_rate)

    def _spec(self, channels: Any) -> ConvSpec:
        raise NotImplementedError

    @property
    def _channel_axis(self) -> int:
        return 3 if self.data_format == "channels_last" else 1

    def _check_inputs(self, inputs_shape: Shape) -> None:
        if len(inputs_shape) != 4:
            raise ValueError(f"The input must be 4-D. Received: inputs.shape={tuple(inputs_shape)}")
        if self.spec is not None and inputs_shape[self._channel_axis] not in (None, self.spec.channels):
            raise ValueError(
                f"The input must have the {self.spec.channels} channels that layer {self.name!r} was built for. "
                f"Received: inputs.shape={tuple(inputs_shape)}, data_format={self.data_format!r}"
            )

    def _check_routing(self, inputs_shape: Shape, routing_weights_shape: Shape | None) -> None:
        if routing_weights_shape is None:
            if self.built and self.router is None:
                raise ValueError(
                    f"Layer {self.name!r} was built for given routing weights and has no router of its own: call it "
                    "as layer(inputs, routing_weights). Received: routing_weights=None"
                )
            return
        batch, expected = inputs_shape[0], (inputs_shape[0], self.num_experts)
        received = tuple(routing_weights_shape)
        if (
            len(received) != 2
            or received[1] not in (None, self.num_experts)
            or (None not in (batch, received[0]) and batch != received[0])
        ):
            raise ValueError(
                f"`routing_weights` must have the shape (batch, num_experts), here {expected}. "
                f"Received: routing_weights.shape={received}, inputs.shape={tuple(inputs_shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "num_experts": self.num_experts,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            f"{self.kernel_argument}_initializer": initializers.serialize(self._get_kernel("initializer")),
            f"{self.kernel_argument}_regularizer": regularizers.serialize(self._get_kernel("regularizer")),
            f"{self.kernel_argument}_constraint": constraints.serialize(self._get_kernel("constraint")),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "implementation": self.implementation,
            **({"routing_options": dict(self.routing_options)} if self.routing_options else {}),
            **({"use_shared_bias": True} if self.use_shared_bias else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        form = config.get("implementation", "")
        if form not in old_names.IMPLEMENTATIONS:
            return super().from_config(config)
        new = old_names.IMPLEMENTATIONS[form]
        # The same text for every layer, so that it is said once.
        text = f"the form implementation={form!r} is no more, implementation={new!r} computes the same"
        warnings.warn(text, stacklevel=2)
        return super().from_config({**config, "implementation": new})


def _pair(value: Pair, name: str) -> tuple[int, int]:
    try:
        pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
        height, width = (standardize_count(side, name) for side in pair)
    except ValueError:
        raise ValueError(f"`{name}` must be a positive integer or a pair of them. Received: {name}={value!r}") from None
    return height, width
