"""The router: one sigmoid weight per example and expert from the pooled features."""

from __future__ import annotations

from typing import Any, cast

import keras
from keras import activations, constraints, initializers, ops, regularizers

from condconv_keras.utils.annotations import DataFormat, Identifier, Shape, Tensor


@keras.saving.register_keras_serializable(package="condconv_keras")
class Routing(keras.layers.Layer):
    """Routing weights `sigmoid(GlobalAveragePool(x) R + b)` of a CondConv block.

    The weights of one example are independent of each other: no softmax, no normalization, any sum in
    (0, num_experts). The paper's formula has no bias; the authors' code and checkpoints have one, zero at the start.
    The layer computes in float32 under every mixed precision policy.

    Args:
        num_experts: positive integer, the number of experts.
        activation: activation of the routing weights; `"sigmoid"` in the paper.
        use_bias: boolean, whether the router has a bias.
        data_format: `"channels_last"` or `"channels_first"`; defaults to `keras.config.image_data_format()`.
        kernel_initializer: as in `keras.layers.Dense`, of the matrix R.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the matrix R.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the matrix R.
        bias_constraint: constraint of the bias.

    Input shape:
        A feature map [batch, height, width, channels] (`channels_first`: [batch, channels, height, width]), pooled
        here, or features [batch, channels] that are pooled already. Height and width may be unknown.

    Output shape:
        [batch, num_experts], float32 (float64 under a float64 policy), in (0, 1) with the sigmoid.

    Raises:
        ValueError: `num_experts` below 1, or an input that is neither 4-D nor 2-D.

    Examples:
        >>> x = keras.random.normal((8, 14, 14, 64))
        >>> routing_weights = Routing(num_experts=4)(x)
        >>> routing_weights.shape
        (8, 4)

    Reference:
        [CondConv](https://arxiv.org/abs/1904.04971), section 3.
    """

    def __init__(
        self,
        num_experts: int,
        activation: Identifier = "sigmoid",
        use_bias: bool = True,
        data_format: DataFormat | None = None,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        **kwargs: Any,
    ) -> None:
        # Keras would cast the input to the low precision of a mixed policy.
        super().__init__(autocast=False, **kwargs)
        self.num_experts = standardize_count(num_experts, "num_experts")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.data_format = standardize_data_format(data_format)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    @property
    def routing_dtype(self) -> str:
        """The dtype that the routing weights are computed and returned in."""
        return routing_dtype(self.compute_dtype)

    def build(self, input_shape: Shape) -> None:
        self._check_rank(input_shape)
        channel_axis = self._channel_axis(input_shape)
        if input_shape[channel_axis] is None:
            raise ValueError(f"The channels of the input must be known. Received: input_shape={tuple(input_shape)}")
        self.input_spec = keras.layers.InputSpec(axes={channel_axis: input_shape[channel_axis]})
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[channel_axis], self.num_experts),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.num_experts,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )

    def call(self, inputs: Tensor) -> Tensor:
        features = ops.cast(inputs, self.routing_dtype)
        if len(inputs.shape) == 4:
            features = ops.mean(features, axis=(1, 2) if self.data_format == "channels_last" else (2, 3))
        logits = ops.matmul(features, ops.cast(self.kernel, self.routing_dtype))
        if self.bias is not None:
            logits = ops.add(logits, ops.cast(self.bias, self.routing_dtype))
        return self.activation(logits)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        return (input_shape[0], self.num_experts)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.routing_dtype)

    def _channel_axis(self, input_shape: Shape) -> int:
        return 1 if len(input_shape) == 2 or self.data_format == "channels_first" else 3

    def _check_rank(self, input_shape: Shape) -> None:
        if len(input_shape) not in (2, 4):
            raise ValueError(
                "Routing takes a feature map (4-D) or pooled features (2-D). "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "data_format": self.data_format,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


def routing_dtype(compute_dtype: str) -> str:
    """The dtype of routing and kernel mixing: bfloat16 and float16 there are a known source of NaN."""
    return "float64" if compute_dtype == "float64" else "float32"


def standardize_count(value: Any, name: str) -> int:
    """Returns `value` as an integer; raises ValueError when it is not a positive whole number."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")
    return int(value)


def standardize_data_format(data_format: str | None) -> DataFormat:
    """Returns the data format, Keras' configured one for None; raises ValueError for an unknown one."""
    data_format = str(data_format or keras.config.image_data_format()).lower()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"`data_format` must be 'channels_last' or 'channels_first'. Received: data_format={data_format!r}"
        )
    return cast(DataFormat, data_format)
