"""The router: one sigmoid weight per example and expert from the pooled features."""

from __future__ import annotations

from typing import Any, cast

import keras
from keras import activations, constraints, initializers, ops, regularizers

from condconv_keras.layers.routing_options import EPSILON, MOMENTUM, RoutingOptions
from condconv_keras.utils.annotations import DataFormat, Identifier, Shape, Tensor


@keras.saving.register_keras_serializable(package="condconv_keras")
class Routing(keras.layers.Layer):
    """Routing weights `sigmoid(GlobalAveragePool(x) R + b)` of a CondConv block.

    The weights of one example are independent of each other: no softmax, no normalization, any sum in
    (0, num_experts). The paper's formula has no bias; the authors' code and checkpoints have one, zero at the start.
    The layer computes in float32 under every mixed precision policy.

    The arguments from `temperature` on help training; `condconv_keras.layers.fold_routing` makes a plain router of what
    they leave. A layer without them has no variable and no operation of theirs, and its configuration does not name
    them.

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
        temperature: positive number T, or None for none. The layer computes `sigmoid((x R + b) / T)`: a high one gives
            all images nearly the same weights. The variable `inverse_temperature`, a float32 scalar that no optimizer
            changes, starts at 1 / T; `condconv_keras.AnnealedTemperature` and `train.py` let it rise to 1.
        normalize_inputs: whether the pooled features are batch-normalized (momentum 0.9, epsilon 1e-3, no scale and no
            shift) before they meet R, so that a router does not start saturated.
        anchored: whether the weight of the first expert is 1 for every image, whatever its column of R is; for the
            sigmoid only. The other experts then add to a kernel that all images share.
        expert_dropout: probability in [0, 1) that training drops a routing weight, for each image and expert on its
            own; the kept ones are divided by 1 - `expert_dropout`. An anchored expert is never dropped.
        diversity_penalty: factor, at least 0, of a term of the loss in training: minus the variance of an expert's
            weight over the batch, the mean over the experts. It asks for images that are routed differently.
        balance_penalty: factor, at least 0, of a term of the loss in training: the squared coefficient of variation of
            the experts' mean weights over the batch. It asks for experts that are used alike. An anchored expert is
            left out of both terms.

    Call arguments:
        - inputs: see below.
        - training: whether the layer trains: batch statistics, dropout and penalties are for then. A layer whose
            `trainable` is False computes as in inference.

    Input shape:
        A feature map [batch, height, width, channels] (`channels_first`: [batch, channels, height, width]), pooled
        here, or features [batch, channels] that are pooled already. Height and width may be unknown.

    Output shape:
        [batch, num_experts], float32 (float64 under a float64 policy), in (0, 1) with the sigmoid.

    Raises:
        ValueError: `num_experts` below 1, an option of training out of range, an anchored expert without the sigmoid,
            or an input that is neither 4-D nor 2-D.

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
        temperature: float | None = None,
        normalize_inputs: bool = False,
        anchored: bool = False,
        expert_dropout: float = 0.0,
        diversity_penalty: float = 0.0,
        balance_penalty: float = 0.0,
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
        self.options = RoutingOptions(
            temperature=temperature,
            normalize_inputs=normalize_inputs,
            anchored=anchored,
            expert_dropout=expert_dropout,
            diversity_penalty=diversity_penalty,
            balance_penalty=balance_penalty,
        )
        if anchored and self.activation is not activations.sigmoid:
            raise ValueError(
                "`anchored` must be False where the activation is no sigmoid: a pinned weight of 1 has no place in "
                f"others. Received: anchored={anchored!r}, activation={activations.serialize(self.activation)!r}"
            )
        # Masks end here: the weights are one vector an example, without its tokens.
        self.supports_masking = True
        self.inverse_temperature: keras.Variable | None = None
        self.normalization: keras.layers.BatchNormalization | None = None
        self.dropout = keras.layers.Dropout(expert_dropout, dtype=self.routing_dtype) if expert_dropout else None

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
        if self.options.temperature is not None:
            self.inverse_temperature = self.add_weight(
                name="inverse_temperature",
                shape=(),
                initializer=initializers.Constant(1 / self.options.temperature),
                dtype="float32",
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
            )
        if self.options.normalize_inputs:
            self.normalization = keras.layers.BatchNormalization(
                momentum=MOMENTUM, epsilon=EPSILON, center=False, scale=False, dtype=self.routing_dtype
            )
            self.normalization.build((None, input_shape[channel_axis]))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        training = bool(training and self.trainable)
        features = self.pooled(inputs)
        if self.normalization is not None:
            features = self.normalization(features, training=training)
        logits = ops.matmul(features, ops.cast(self.kernel, self.routing_dtype))
        if self.bias is not None:
            logits = ops.add(logits, ops.cast(self.bias, self.routing_dtype))
        if self.inverse_temperature is not None:
            logits = ops.multiply(logits, ops.cast(self.inverse_temperature, self.routing_dtype))
        weights = self.activation(logits)
        if not self.options.anchored:
            return self._trained(weights) if training else weights
        others = self._trained(weights[:, 1:]) if training and self.num_experts > 1 else weights[:, 1:]
        return ops.concatenate([ops.ones_like(weights[:, :1]), others], axis=1)

    def pooled(self, inputs: Tensor) -> Tensor:
        """The features [batch, channels] of a feature map, in the dtype of the routing weights."""
        features = ops.cast(inputs, self.routing_dtype)
        if len(inputs.shape) == 2:
            return features
        return ops.mean(features, axis=(1, 2) if self.data_format == "channels_last" else (2, 3))

    def _trained(self, weights: Tensor) -> Tensor:
        """The weights of experts that are not pinned, as training takes them; what they cost is added to the loss."""
        penalty = self.options.penalty(weights)
        if penalty is not None:
            self.add_loss(penalty)
        return weights if self.dropout is None else self.dropout(weights, training=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        return (input_shape[0], self.num_experts)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None) -> None:
        """No mask, whatever that of the inputs is."""

    def compute_output_spec(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
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
            **self.options.chosen(),
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
