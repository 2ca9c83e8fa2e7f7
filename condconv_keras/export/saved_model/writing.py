"""Writes a model as a SavedModel that needs nothing but TensorFlow."""

import contextlib
import io
import pathlib
import tempfile

from condconv_keras.models.returned import with_returns
from condconv_keras.models.saved_networks import WEIGHTS, put_network
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError, warn
from condconv_keras.utils.files import put_text
from condconv_keras.utils.lazy import LazyModule, keras
from condconv_keras.utils.lazy import tensorflow as tf

layers = LazyModule("condconv_keras.layers")
batch_norm_folding = LazyModule("condconv_keras.layers.batch_norm_folding")


def write_saved_model(model, card, path):
    """Writes a classifier or detector as a SavedModel: decoding, scaling and what follows the network are inside.

    The signatures compute the folded network (`condconv_keras.fold`), a batch of one in a graph of its own. The batch
    has any size. What a detector's signatures return is in `condconv_keras.tasks.detection.serving`.
    Those of a classifier, `images` being [batch, height, width, channels] in 0..255, resized to the model's input:

    - `serving_default` and `serve` take float32 `images` and return `probabilities`, float32 [batch, classes], and
      `class_ids`, int64 [batch], the most probable class of each image.
    - `serve_uint8` takes uint8 `images` and returns the same.
    - `serve_bytes` takes `image_bytes`, string [batch], the content of JPEG, PNG, BMP, GIF or WebP files of any sizes,
      prepares them as evaluation does (EXIF orientation where the card applies it, channels, crop, resize) and returns
      the same and `class_names`, string [batch]. If files cannot be decoded, the error is an InvalidArgumentError that
      names their positions in the batch.
    - `features` takes float32 `images` and returns `features`, float32 [batch, D], what the classifying layer is given.
      Left out for a model that does not end in a dense or 1x1 layer of pooled features.
    - `routing` takes float32 `images` and returns float32 [batch, num_experts] for every router, under the name of the
      `Routing` layer, or of the CondConv layer that has a router of its own. Left out for a plain model.

    NumPy arrays and the inputs of `saved_model_cli` are converted to a signature's dtype, TensorFlow tensors must have
    it. Every signature is also a function of the loaded object, `loaded.serve(images)`, and an endpoint of
    `keras.layers.TFSMLayer`; there, `serving_default` takes float32 and uint8 tensors alike, at the cost of a new trace
    for every new batch size. `assets/labels.txt` has the class names, one a line.

    `assets.extra/network.json` lets `condconv_keras.load_model` give the Keras network back, where that can be built
    from its configuration (`condconv_keras.models.saved_networks`); else a warning says that it is left out.

    Args:
        model: functional or sequential Keras model that computes in float32; what its routers have for training is
            folded away.
        card: its `ModelCard`.
        path: folder to write.

    Raises:
        UserError: as `ModelCard.labels`, or as of `condconv_keras.models.returned.with_returns`.
    """
    network = batch_norm_folding.folded_if_possible(layers.fold_routing(model))
    card = with_returns(network.before, card)
    with tempfile.TemporaryDirectory() as folder:
        class_names = _class_names(card, pathlib.Path(folder) / "labels.txt")
        archive = keras.export.ExportArchive()
        # The model itself is not tracked: Keras would save its variables twice.
        archive.track(class_names)
        for name, function in get_task(card.task).endpoints(network.model, card, class_names).items():
            archive.add_endpoint(name, function)
        # All of them, also those that no endpoint uses. Keras's own variables would be saved a second time.
        archive.add_variable_collection(WEIGHTS, [variable.value for variable, _ in network.variables])
        with contextlib.redirect_stdout(io.StringIO()):
            archive.write_out(str(path), verbose=False)
    try:
        put_network(path, network, card.returns)
    except UserError as error:
        warn(f"{path} cannot be loaded as a Keras model, only run: {error}")


def _class_names(card, path):
    """The table from class ids to names; it reads `path`, which is written here and becomes an asset when saved."""
    put_text(path, card.labels)
    lines = tf.lookup.TextFileInitializer(
        str(path),
        key_dtype=tf.int64,
        key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        value_dtype=tf.string,
        value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
    )
    return tf.lookup.StaticHashTable(lines, default_value="")
