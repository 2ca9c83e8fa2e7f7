"""The authors' TensorFlow checkpoints: EfficientNet with CondConv, plain EfficientNet-B0 and EfficientNet-Lite.

Variables are named by scope and layer class, the layers of one class numbered in the order in which their block uses
them, as in `efficientnet-condconv-b0-4e/blocks_9/se/conv2d_1/bias`. Keras layers are numbered over the whole graph and
stand under the scope of the Keras model besides, as in `.../model/blocks_9/cond_conv2d_1/condconv_kernel`. So a layer
is known by its block, its kind and the order of the numbers, whatever stands in front of the block.

Source: efficientnet_model.py, utils.py and condconv/condconv_layers.py of EfficientNet in tensorflow/tpu.
"""

import collections
import contextlib
import pathlib
import re
import tempfile
import types

from condconv_keras.facts.foreign_networks import TENSORFLOW_TPU
from condconv_keras.utils.errors import UserError, one_line, some_of
from condconv_keras.utils.lazy import tensorflow as tf
from condconv_keras.weights.readers.archives import unpack
from condconv_keras.weights.readers.networks import foreign_networks
from condconv_keras.weights.source import WeightSource

_SHOWN = 10
_SHADOW = "/ExponentialMovingAverage"
_VARIABLE = re.compile(
    r"(?:.*/)?(?P<part>stem|head|blocks_(?P<block>\d+))/(?P<se>se/)?(?P<layer>\w+?)(?:_(?P<number>\d+))?/(?P<variable>\w+)"
)


def recognizes(path, start):
    """Whether there is a folder, an index file or the prefix of a checkpoint, or a gzip archive."""
    return path.is_dir() or _is_index_or_prefix(path) or start.startswith(b"\x1f\x8b")


def _is_index_or_prefix(path):
    return path.suffix == ".index" or path.with_name(f"{path.name}.index").is_file()


def open_weights(path, name, arguments=types.MappingProxyType({})):
    """Reads a checkpoint of the authors' EfficientNet code.

    The moving averages are read, which the authors evaluate, where there are any: then every variable must have one.
    Optimizer slots, step counters and the raw values behind the averages are left out.

    Args:
        path: folder of the checkpoint, its `.index` file, its prefix, or a `.tar.gz` of the folder.
        name: registry name of the model that the weights are for.
        arguments: as in `condconv_keras.weights.opening.open_source`; none makes a difference here.

    Returns:
        A `WeightSource`.

    Raises:
        UserError: there is no checkpoint or more than one, it is damaged or incomplete, a variable has no moving
            average though others have, it is of another code base, or that has no such network.
    """
    network = foreign_networks(TENSORFLOW_TPU, name)[0]
    path = pathlib.Path(path)
    description = f"TensorFlow checkpoint {str(path)!r}"
    if path.is_dir():
        tensors = _read(_prefix_in(path, path, [*path.glob("*.index"), *path.glob("*/*.index")]), description)
    elif _is_index_or_prefix(path):
        tensors = _read(path.with_suffix("") if path.suffix == ".index" else path, description)
    else:
        with tempfile.TemporaryDirectory() as folder:
            unpack(path, folder)
            folder = pathlib.Path(folder)
            tensors = _read(_prefix_in(folder, path, folder.rglob("*.index")), description)
    return _weight_source(network, tensors, description)


def _prefix_in(folder, path, indexes):
    """The prefix of the one checkpoint among the index files in a folder, or of the one that its state file names."""
    # Archives made on macOS hold a file ._NAME of attributes besides each NAME.
    prefixes = [index.with_suffix("") for index in sorted(indexes) if index.name[0] != "."]
    if len(prefixes) > 1:
        latest = [prefix for prefix in prefixes if prefix.name == _latest_name(prefix.parent)]
        prefixes = latest or prefixes
    if len(prefixes) != 1:
        found = ", ".join(repr(str(prefix.relative_to(folder))) for prefix in prefixes[:_SHOWN]) or "none"
        raise UserError(f"expected one TensorFlow checkpoint (*.index) in {str(path)!r}, found {found}")
    return prefixes[0]


def _latest_name(folder):
    """The name in the folder's `checkpoint` file. Its path is of the machine that wrote it: only the name counts."""
    state = folder / "checkpoint"
    if not state.is_file():
        return None
    named = re.search(r'^model_checkpoint_path: "(?:.*/)?([^/"]+)"', state.read_text("utf-8", "replace"), re.MULTILINE)
    return named and named[1]


def _read(prefix, description):
    """Returns the arrays of a checkpoint's variables by name, moving averages in place of the raw values."""
    with _damage_in_one_line(description):
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
    keys = _variables(shapes, description)
    with _damage_in_one_line(description):
        return {name: reader.get_tensor(key) for name, key in keys.items()}


@contextlib.contextmanager
def _damage_in_one_line(description):
    try:
        yield
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError, MemoryError) as error:
        # The reader's errors of status become these types of Python.
        reason = one_line(error, 300)
        raise UserError(f"{description} is damaged or incomplete ({reason})") from error


def _variables(shapes, description):
    """Returns the key to read for every variable of a checkpoint.

    Args:
        shapes: dict of every key in the checkpoint to the shape of its tensor.
        description: for messages.
    """
    shadowed = {key.removesuffix(_SHADOW) for key in shapes if key.endswith(_SHADOW)}
    # Scalars are step counters and the like; a key below another one is a slot of that variable.
    candidates = shadowed | {key for key, shape in shapes.items() if shape and not key.endswith(_SHADOW)}
    names = sorted(name for name in candidates if not _ancestors(name) & candidates)
    bare = [name for name in names if name not in shadowed]
    if shadowed and bare:
        raise UserError(f"{description} has moving averages ({_SHADOW[1:]}), but none of {some_of(bare, _SHOWN)}")
    return {name: f"{name}{_SHADOW}" if shadowed else name for name in names}


def _ancestors(name):
    parts = name.split("/")
    return {"/".join(parts[:length]) for length in range(1, len(parts))}


def _weight_source(network, tensors, description):
    names = _names_by_target(tensors, network.names)
    if not names:
        raise UserError(f"{description} has no variables of the authors' EfficientNet (stem, blocks_0, head)")

    def find(layer, variable):
        name = names[f"{layer.name}/{variable}"]
        # The classifier is a dense layer there, a 1x1 convolution here.
        is_dense = layer.name == "classifier" and variable == "kernel"
        return name, (lambda kernel: kernel[None, None]) if is_dense else (lambda value: value)

    return WeightSource(
        description=description,
        tensors=types.MappingProxyType(tensors),
        find=find,
        model_arguments=types.MappingProxyType({**network.arguments, **_classes(tensors, names)}),
        preprocessing=network.preprocessing,
    )


def _names_by_target(names, roles):
    """Returns the names of the checkpoint by `<layer>/<variable>` of the zoo; names of no known layer are left out.

    Args:
        names: of the checkpoint's variables.
        roles: `ScopeNames`.
    """
    matches = [match for match in map(_VARIABLE.fullmatch, names) if match]
    layers = collections.defaultdict(set)
    for match in matches:
        layers[match["part"], _kind(match)].add(_numbered_layer(match))
    targets = {}
    for match in matches:
        layer = _target_layer(match, roles, sorted(layers[match["part"], _kind(match)]))
        if layer is not None:
            variable = match["variable"].replace("depthwise_kernel", "kernel")
            targets[f"{layer}/{variable}"] = match.string
    return targets


def _kind(match):
    """What a layer is, by the name of its class: `conv2d`, `cond_conv2d`, `tpu_batch_normalization`, ..."""
    layer = match["layer"]
    if match["se"]:
        return "se"
    if "depthwise" in layer:
        return "depthwise"
    if "batch_normalization" in layer:
        return "norm"
    return "dense" if layer == "dense" else "conv"


def _numbered_layer(match):
    return int(match["number"] or 0), match["layer"]


def _target_layer(match, roles, layers):
    """The zoo's name of a layer, from its place among the sorted layers of its kind; None beyond the known ones."""
    kind = _kind(match)
    if match["block"] is None:
        targets = roles.layers[match["part"]].get(kind, ())
    else:
        targets = tuple(f"block_{int(match['block']) + 1}_{role}" for role in roles.blocks[kind])
    place = layers.index(_numbered_layer(match)) - len(layers)
    return targets[place] if -len(targets) <= place else None


def _classes(tensors, names):
    bias = names.get("classifier/bias")
    return {} if bias is None else {"classes": tensors[bias].size}
