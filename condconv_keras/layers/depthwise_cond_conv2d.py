"""`DepthwiseCondConv2D`: a depthwise 2D convolution whose kernel is mixed per example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras

from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.layers.forms.portable import ConvSpec
from condconv_keras.layers.forms.selection import DepthwiseForm
from condconv_keras.layers.routing import standardize_count
from condconv_keras.utils.annotations import DataFormat, Identifier, Padding, Pair


@keras.saving.register_keras_serializable(package="condconv_keras")
class DepthwiseCondConv2D(BaseCondConv2D):
    """Depthwise 2D convolution with a mixture of expert kernels, mixed per example.

    The depthwise counterpart of `CondConv2D`; see there for routing and bias.

    Args:
        kernel_size: integer or pair, height and width of the kernels.
        num_experts: positive integer, the number n of expert kernels.
        strides: integer or pair, the steps along height and width; two different ones are supported without dilation.
        padding: `"valid"` or `"same"`.
        depth_multiplier: positive integer, the number of output channels for each input channel.
        data_format: `"channels_last"` or `"channels_first"`; defaults to `keras.config.image_data_format()`.
        dilation_rate: integer or pair, the dilation along height and width.
        activation: activation of the output, none by default.
        use_bias: whether there is a bias: one vector per expert, mixed by the same routing weights.
        depthwise_initializer: as in `keras.layers.DepthwiseConv2D`. It sees one expert at a time, and the experts get
            different initial values.
        bias_initializer: the same for the bias.
        depthwise_regularizer: regularizer of one expert at a time.
        bias_regularizer: regularizer of the bias of one expert at a time.
        activity_regularizer: as in `keras.layers.DepthwiseConv2D`, of the output.
        depthwise_constraint: constraint of one expert at a time.
        bias_constraint: constraint of the bias of one expert at a time.
        implementation: `"auto"`, or the name of one form, all equal in value: `"mixture"` (n convolutions with static
            kernels), `"dense"` (feature maps of known size), `"shifted_taps"`, `"mapped_conv"` (TensorFlow only),
            `"grouped_conv"` (LiteRT takes it where the batch is known), `"single_conv"` (a batch of one). `"serving"`
            is `"auto"`, but where the size of the batch is unknown the form may be one that LiteRT does not take.
        routing_options: dict of the arguments of `Routing` that are for training, such as `temperature`, for the
            router of a layer that is called without routing weights; None for none.
        use_shared_bias: whether there is a second bias, which is the same for every example, as `condconv_keras.fold`
            makes of a batch normalization.

    Call arguments:
        - inputs: [batch, height, width, channels], or [batch, channels, height, width] for `channels_first`. Batch,
            height and width may be unknown.
        - routing_weights: optional [batch, num_experts], kept in float32 under every mixed precision policy.

    Output shape:
        The output shape of `keras.layers.DepthwiseConv2D`, with channels * depth_multiplier output channels.

    Variables:
        `depthwise_condconv_kernel`: [num_experts, kh * kw * channels * depth_multiplier], rows row-major of
        (kh, kw, channels, depth_multiplier); `condconv_bias`: [num_experts, channels * depth_multiplier];
        `shared_bias`: [channels * depth_multiplier].

    Raises:
        ValueError: an argument out of range; asymmetric strides together with dilation; routing weights of the wrong
            rank, width or batch; a call without routing weights of a layer that was built with them;
            `implementation="dense"` for a feature map of unknown size or more than 2**16 pairs of an input and an
            output pixel.

    Examples:
        >>> x = keras.random.normal((8, 14, 14, 64))
        >>> DepthwiseCondConv2D(3, num_experts=8, padding="same")(x).shape
        (8, 14, 14, 64)

    Reference:
        [CondConv](https://arxiv.org/abs/1904.04971), section 3; tensorflow/tpu,
        efficientnet/condconv/condconv_layers.py.
    """

    depthwise = True
    bank_name = "depthwise_condconv_kernel"
    kernel_argument = "depthwise"

    def __init__(
        self,
        kernel_size: Pair,
        num_experts: int,
        strides: Pair = (1, 1),
        padding: Padding = "valid",
        depth_multiplier: int = 1,
        data_format: DataFormat | None = None,
        dilation_rate: Pair = (1, 1),
        activation: Identifier | None = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Identifier | None = None,
        depthwise_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        implementation: Literal["auto"] | DepthwiseForm = "auto",
        routing_options: Mapping[str, Any] | None = None,
        use_shared_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size=kernel_size,
            num_experts=num_experts,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=depthwise_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=depthwise_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=depthwise_constraint,
            bias_constraint=bias_constraint,
            implementation=implementation,
            routing_options=routing_options,
            use_shared_bias=use_shared_bias,
            **kwargs,
        )
        self.depth_multiplier = standardize_count(depth_multiplier, "depth_multiplier")
        if self.strides[0] != self.strides[1] and max(self.dilation_rate) > 1:
            raise ValueError(
                "Asymmetric `strides` are not supported together with `dilation_rate > 1`. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}"
            )

    def _spec(self, channels: Any) -> ConvSpec:
        filters: Any = None if channels is None else channels * self.depth_multiplier
        return ConvSpec(self._geometry(), channels, filters, depthwise=True)

    @property
    def depthwise_condconv_kernel(self) -> keras.Variable:
        """The bank of experts, [num_experts, kh * kw * channels * depth_multiplier]."""
        return self.bank

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "depth_multiplier": self.depth_multiplier,
        }
