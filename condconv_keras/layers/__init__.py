"""CondConv layers for Keras 3."""

from condconv_keras.layers.annealing import AnnealedTemperature
from condconv_keras.layers.batch_norm_folding import fold
from condconv_keras.layers.batch_normalization import BatchNormalization, use_fused_batch_norm
from condconv_keras.layers.cond_conv2d import CondConv2D
from condconv_keras.layers.depthwise_cond_conv2d import DepthwiseCondConv2D
from condconv_keras.layers.folding import fold_routing, with_routing
from condconv_keras.layers.masked_reshape import MaskedReshape
from condconv_keras.layers.routing import Routing
from condconv_keras.layers.strided_conv import slice_strided_1x1

__all__ = [
    "AnnealedTemperature",
    "BatchNormalization",
    "CondConv2D",
    "DepthwiseCondConv2D",
    "MaskedReshape",
    "Routing",
    "fold",
    "fold_routing",
    "slice_strided_1x1",
    "use_fused_batch_norm",
    "with_routing",
]
