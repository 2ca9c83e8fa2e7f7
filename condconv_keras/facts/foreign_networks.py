"""Networks of other code bases that are networks of the zoo: how they name layers, and what their weights need.

The families of the zoo have those of their models. Reading the files is for `condconv_keras.weights.readers`.
"""

import dataclasses
import types
from collections.abc import Mapping

# The code bases whose weights can be imported.
TIMM = "timm"
EFFICIENTNET_LITE = "efficientnet-lite"
KERAS_APPLICATIONS = "keras.applications"
TENSORFLOW_TPU = "tensorflow/tpu"

# Padding and epsilon of networks that were trained in TensorFlow, or ported from there, and in PyTorch.
TENSORFLOW_ARGUMENTS = types.MappingProxyType({"padding": "same", "bn_epsilon": 1e-3})
TORCH_ARGUMENTS = types.MappingProxyType({"padding": "symmetric", "bn_epsilon": 1e-5})
# Scalings of pixels in timm's configurations: ImageNet's mean and standard deviation times 255, and [-1, 1].
IMAGENET_SCALING = types.MappingProxyType({"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)})
INCEPTION_SCALING = types.MappingProxyType({"mean": 127.5, "std": 127.5})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForeignNetwork:
    """A network of another code base that computes what a network of the zoo does.

    Attributes:
        name: what the code base calls it, with the tag of the weights where it has several.
        names: how it names its layers: `TorchNames` of timm and efficientnet-lite, `ScopeNames` of tensorflow/tpu; of
            keras.applications a mapping of regular expressions of the names, in lower case, to the zoo's names, blocks
            in their order but not numbered yet.
        arguments: `create_model` arguments that its weights need.
        preprocessing: fields of `Preprocessing` that they were trained with, as far as the files do not say it.
    """

    name: str
    names: object
    arguments: Mapping
    preprocessing: Mapping = dataclasses.field(default_factory=lambda: types.MappingProxyType({}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchNames:
    """How a PyTorch code base names the modules of a network.

    Attributes:
        layers: module by the zoo's layer, of the layers outside of the blocks; `"stem"` is one.
        block: regular expression of what stands in front of a block's modules; its groups are the numbers that order
            the blocks.
        blocks: the kinds of blocks, by a module that tells the kind. Of each the module by the zoo's layer, without the
            block's name. A block with none of these modules is of the last kind.
    """

    layers: Mapping[str, str]
    block: str
    blocks: Mapping[str, Mapping[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScopeNames:
    """The zoo's layers in the order in which the layers of one class are numbered in a scope of a TensorFlow network.

    Where a scope has fewer, the first are missing.

    Attributes:
        layers: by scope, `"stem"` or `"head"`, the layers by class.
        blocks: of the scope of a block, the layers by class, without the block's name. The classes are `"conv"`,
            `"norm"`, `"depthwise"`, `"dense"` and `"se"`, the convolutions of squeeze-and-excitation.
    """

    layers: Mapping[str, Mapping[str, tuple[str, ...]]]
    blocks: Mapping[str, tuple[str, ...]]


def timm_network(name, names, arguments, scaling, *, size=224, crop_fraction=0.875):
    """Returns a `ForeignNetwork` of timm with what its default configuration says; all interpolate bicubically.

    Args:
        name: architecture and tag of the weights that `pretrained=True` loads.
        names: `TorchNames`.
        arguments: `TENSORFLOW_ARGUMENTS` or `TORCH_ARGUMENTS`.
        scaling: `IMAGENET_SCALING` or `INCEPTION_SCALING`.
        size: height and width of the evaluation's input, that of training.
        crop_fraction: of the evaluation.
    """
    preprocessing = {
        **scaling,
        "input_size": (size, size),
        "interpolation": "bicubic",
        "crop_fraction": crop_fraction,
    }
    return ForeignNetwork(
        name=name, names=names, arguments=arguments, preprocessing=types.MappingProxyType(preprocessing)
    )


def keras_applications_network(name, names):
    """Returns a `ForeignNetwork` of keras.applications, whose files say how their pixels are scaled."""
    return ForeignNetwork(name=name, names=names, arguments=TENSORFLOW_ARGUMENTS)
