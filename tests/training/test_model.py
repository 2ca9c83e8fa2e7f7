import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import networks


def numpy_step(net, images, labels, recipe, smoothing=0.0):
    """The gradient of the classifier's kernel and bias at one batch, written out."""
    features = keras.Model(net.input, net.get_layer("classifier").input)(images, training=True).numpy()
    kernel, bias = (v.numpy() for v in net.get_layer("classifier").trainable_variables)
    logits = features @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    targets = labels if labels.ndim == 2 else np.eye(networks.CLASSES)[labels]
    targets = targets * (1 - smoothing) + smoothing / networks.CLASSES
    loss = -(targets * np.log(probabilities)).sum(-1).mean()
    difference = (probabilities - targets) / len(labels)
    gradient = [
        features.T @ difference + recipe.weight_decay * kernel,
        difference.sum(0) + recipe.weight_decay * bias,
    ]
    return loss, [kernel, bias], gradient, (logits.argmax(-1) == targets.argmax(-1)).mean()


def step(model, images, labels):
    return {name: float(value) for name, value in model.train_step((images, labels)).items()}


@pytest.mark.parametrize("soft", [False, True])
def test_one_step_against_numpy(soft):
    recipe = networks.recipe(label_smoothing=0.1, weight_decay=0.01)
    ((images, labels),) = networks.batches(1)
    if soft:
        labels = tf.nn.softmax(tf.constant(np.random.default_rng(1).standard_normal((8, networks.CLASSES)), tf.float32))
    net = networks.network()
    loss, values, gradient, accuracy = numpy_step(net, images, labels.numpy(), recipe, 0.1)
    decayed = [net.get_layer("stem").kernel, net.get_layer("stem").bias, *net.get_layer("classifier").weights]
    loss += 0.01 / 2 * sum(np.square(v.numpy()).sum() for v in decayed)
    logs = step(networks.training_model(net, recipe), images, labels)
    assert logs["loss"] == pytest.approx(loss, rel=1e-5)
    assert logs["accuracy"] == pytest.approx(accuracy)
    assert logs["stop"] == 0
    for variable, value, g in zip(net.get_layer("classifier").weights, values, gradient, strict=True):
        np.testing.assert_allclose(variable.numpy(), value - 0.1 * g, rtol=1e-4, atol=1e-6)


def test_gradients_longer_than_the_norm_are_scaled_to_it():
    ((images, labels),) = networks.batches(1)
    steps = {}
    for clip_norm in (None, 0.01, 1e6):
        net = networks.network()
        before = [v.numpy() for v in net.trainable_variables]
        step(networks.training_model(net, networks.recipe(clip_norm=clip_norm)), images, labels)
        steps[clip_norm] = np.concatenate(
            [(a - b.numpy()).ravel() / 0.1 for a, b in zip(before, net.trainable_variables, strict=True)]
        )
    length = np.linalg.norm(steps[None])
    assert length > 0.1
    np.testing.assert_allclose(steps[1e6], steps[None], atol=1e-5)
    np.testing.assert_allclose(steps[0.01], steps[None] * 0.01 / length, atol=1e-5)


def test_logs_are_means_over_the_epoch_and_a_stop_is_seen():
    (first, second) = networks.batches(2)
    net = networks.network()
    model = networks.training_model(net, networks.recipe(learning_rate=1e-9))
    losses = [step(networks.training_model(networks.network(), networks.recipe()), *b)["loss"] for b in (first, second)]
    assert step(model, *first)["loss"] == pytest.approx(losses[0], rel=1e-5)
    model.request_stop()
    logs = step(model, *second)
    assert logs["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert logs["stop"] == 1


def test_the_average_follows_every_step():
    net = networks.network()
    model = networks.training_model(net, networks.recipe(ema_decay=0.5))
    kernel = net.get_layer("classifier").kernel
    expected = kernel.numpy()
    for number, batch in enumerate(networks.batches(3), start=1):
        step(model, *batch)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * kernel.numpy()
    index = [v is kernel for v in net.variables].index(True)
    np.testing.assert_allclose(model.average.variables[index].numpy(), expected, rtol=1e-5)
