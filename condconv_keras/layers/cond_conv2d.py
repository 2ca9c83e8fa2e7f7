"""`CondConv2D`: a 2D convolution whose kernel is mixed per example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras

from condconv_keras.layers.base_cond_conv import BaseCondConv2D
from condconv_keras.layers.forms.portable import ConvSpec
from condconv_keras.layers.forms.selection import ConvForm
from condconv_keras.layers.routing import standardize_count
from condconv_keras.utils.annotations import DataFormat, Identifier, Padding, Pair


@keras.saving.register_keras_serializable(package="condconv_keras")
class CondConv2D(BaseCondConv2D):
    """2D convolution with a mixture of expert kernels, mixed per example.

    Computes `activation((a_1 W_1 + ... + a_n W_n) * x + a_1 b_1 + ... + a_n b_n)` with one scalar `a_i` per example and
    expert, and each `W_i` in the shape of the kernel of `keras.layers.Conv2D`. `layer(x)` computes the routing weights
    `a = sigmoid(GlobalAveragePool(x) R + r)` itself; `layer(x, a)` uses the given ones, so that one `Routing` feeds all
    convolutions of a block. With one expert and routing weight 1 it is `Conv2D`.

    Args:
        filters: positive integer, the number of output channels.
        kernel_size: integer or pair, height and width of the kernels.
        num_experts: positive integer, the number n of expert kernels.
        strides: integer or pair, the steps of the convolution along height and width.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`; defaults to `keras.config.image_data_format()`.
        dilation_rate: integer or pair, the dilation along height and width.
        groups: positive integer, the number of groups that the channels are split into.
        activation: activation of the output, none by default.
        use_bias: whether there is a bias: one vector per expert, mixed by the same routing weights.
        kernel_initializer: as in `keras.layers.Conv2D`. It sees one expert at a time in the shape of the kernel that
            the expert replaces, and the experts get different initial values.
        bias_initializer: the same for the bias.
        kernel_regularizer: regularizer of one expert at a time.
        bias_regularizer: regularizer of the bias of one expert at a time.
        activity_regularizer: as in `keras.layers.Conv2D`, of the output.
        kernel_constraint: constraint of one expert at a time.
        bias_constraint: constraint of the bias of one expert at a time.
        implementation: `"auto"` for the fastest form on the running backend and device, or the name of one form, all
            equal in value: `"mixture"` (n convolutions with static kernels), `"batched_matmul"`, `"mixture_matmul"`,
            `"mixture_conv"`, `"dense"` (feature maps of known size), `"mapped_conv"` (TensorFlow only),
            `"grouped_conv"` (LiteRT takes it for a batch of known size), `"single_conv"` (a batch of one). `"serving"`
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
        The output shape of `keras.layers.Conv2D`.

    Variables:
        `condconv_kernel`: [num_experts, kh * kw * channels / groups * filters], rows row-major of
        (kh, kw, channels / groups, filters); `condconv_bias`: [num_experts, filters]; `shared_bias`: [filters].

    Raises:
        ValueError: an argument out of range; `strides > 1` together with `dilation_rate > 1`; channels that `groups`
            does not divide; routing weights of the wrong rank, width or batch; a call without routing weights of a
            layer that was built with them; `implementation="dense"` for a feature map of unknown size or more than
            2**16 pairs of an input and an output pixel.

    Examples:
        >>> x = keras.random.normal((8, 14, 14, 64))
        >>> CondConv2D(128, 3, num_experts=8, padding="same")(x).shape
        (8, 14, 14, 128)
        >>> routing_weights = Routing(num_experts=8)(x)
        >>> CondConv2D(128, 1, num_experts=8, use_bias=False)(x, routing_weights).shape
        (8, 14, 14, 128)

    Reference:
        [CondConv: Conditionally Parameterized Convolutions for Efficient
        Inference](https://arxiv.org/abs/1904.04971), equation 1. Variable names and layout: tensorflow/tpu,
        efficientnet/condconv/condconv_layers.py.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Pair,
        num_experts: int,
        strides: Pair = (1, 1),
        padding: Padding = "valid",
        data_format: DataFormat | None = None,
        dilation_rate: Pair = (1, 1),
        groups: int = 1,
        activation: Identifier | None = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        implementation: Literal["auto"] | ConvForm = "auto",
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
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            implementation=implementation,
            routing_options=routing_options,
            use_shared_bias=use_shared_bias,
            **kwargs,
        )
        self.filters = standardize_count(filters, "filters")
        if self.filters % self.groups:
            raise ValueError(f"`groups` must divide `filters`. Received: groups={groups}, filters={filters}")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides > 1` is not supported together with `dilation_rate > 1`. "
                f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}"
            )

    def _spec(self, channels: Any) -> ConvSpec:
        if channels is not None and channels % self.groups:
            raise ValueError(
                f"`groups` must divide the channels of the input. Received: groups={self.groups}, channels={channels}"
            )
        return ConvSpec(self._geometry(), channels, self.filters, groups=self.groups)

    @property
    def condconv_kernel(self) -> keras.Variable:
        """The bank of experts, [num_experts, kh * kw * channels / groups * filters]."""
        return self.bank

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "groups": self.groups,
        }
