"""What is measured of a network: a call that does the work once and returns when it is done."""

import pathlib
import tempfile


def make_call(work, network, batch, jit_compile=False):
    """Returns a function without arguments that does the work on one batch of noise and returns NumPy values.

    Args:
        work: one of `WORK`.
        network: classifier.
        batch: images.
        jit_compile: whether TensorFlow compiles inference and training with XLA; JAX always does.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, *network.input_shape[1:])).astype(np.float32)
    return WORK[work](network, images, rng.integers(0, network.output_shape[-1], batch), jit_compile)


def _inference(network, images, labels, jit_compile):
    """Keras's `predict_on_batch` of the folded network, which is what `eval.py` and `predict.py` compute."""
    from condconv_keras import fold

    return _unfolded(fold(network), images, labels, jit_compile)


def _unfolded(network, images, labels, jit_compile):
    """Keras's `predict_on_batch` of the network itself."""
    import keras

    network.compile(jit_compile=jit_compile or keras.backend.backend() == "jax")
    images = keras.ops.convert_to_tensor(images)
    return lambda: network.predict_on_batch(images)


def _saved_model(network, images, labels, jit_compile):
    """The signature `serving_default` of the SavedModel that `python -m export` writes, loaded again."""
    import tensorflow as tf

    from condconv_keras.export.saved_model.writing import write_saved_model

    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(network, _card(network), folder)
        loaded = tf.saved_model.load(folder)
    signature, images = loaded.signatures["serving_default"], tf.constant(images)
    return lambda: signature(images=images)["probabilities"].numpy()


def _tflite(network, images, labels, jit_compile):
    """The float32 `.tflite` file that `python -m export` writes, of batches of this size, in LiteRT."""
    from condconv_keras.export.tflite.conversion import tflite_bytes
    from condconv_keras.serving.litert import LiteRTModel

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.tflite")
        path.write_bytes(tflite_bytes(network, _card(network), batch_size=len(images)))
        loaded = LiteRTModel(path)
    return lambda: loaded.predict(images)


def _card(network):
    """A card for a network of no training."""
    from condconv_keras.facts.model_card import ModelCard
    from condconv_keras.facts.preprocessing import Preprocessing

    height, width, channels = network.input_shape[1:]
    classes = [str(i) for i in range(network.output_shape[-1])]
    return ModelCard("", classes, Preprocessing((height, width), channels, 127.5, 127.5))


def _training(network, images, labels, jit_compile):
    """The step of `train.py`, without its input, with momentum SGD; on JAX that of Keras's `train_on_batch`."""
    import keras

    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    images, labels = (keras.ops.convert_to_tensor(each) for each in (images, labels))
    if keras.backend.backend() == "jax":
        network.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
        return lambda: network.train_on_batch(images, labels)
    import tensorflow as tf

    from condconv_keras.training.model import TrainingModel

    def objective(labels, logits):
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True), {}

    model = TrainingModel(network, objective, (), optimizer)
    step = tf.function(model.train_step, jit_compile=jit_compile)
    return lambda: step((images, labels))["loss"].numpy()


def _mixing(network, images, labels, jit_compile):
    """What a twin computes that its plain network does not: the kernels of all images, of every CondConv layer.

    The routing weights are noise, and the kernels are thrown away.
    """
    import tensorflow as tf

    from condconv_keras.layers.base_cond_conv import BaseCondConv2D
    from condconv_keras.layers.forms.portable import mix
    from condconv_keras.utils.keras_graph import all_layers

    layers = [layer for layer in all_layers(network) if isinstance(layer, BaseCondConv2D)]
    routing = [tf.random.uniform((len(images), layer.num_experts)) for layer in layers]

    @tf.function(jit_compile=jit_compile)
    def mixed(routing):
        return [mix(weights, layer.bank.value, "float32")[:, 0] for weights, layer in zip(routing, layers, strict=True)]

    return lambda: [values.numpy() for values in mixed(routing)]


WORK = {
    "inference": _inference,
    "unfolded": _unfolded,
    "saved_model": _saved_model,
    "tflite": _tflite,
    "training": _training,
    "mixing": _mixing,
}
