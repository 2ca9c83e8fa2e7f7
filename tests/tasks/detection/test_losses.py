import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.tasks.detection import SigmoidFocalLoss, SmoothL1Loss

RNG = np.random.default_rng(0)


def _slow_focal(labels, logits, alpha, gamma):
    """The sum over the anchors of one image, in float64."""
    total = 0.0
    for label, row in zip(labels, np.asarray(logits, np.float64), strict=True):
        for column, logit in enumerate(row):
            if label < 0 or column == 0:  # the background does not count
                continue
            probability = 1 / (1 + np.exp(-logit))
            if column == label:
                total += alpha * (1 - probability) ** gamma * -np.log(probability)
            else:
                total += (1 - alpha) * probability**gamma * -np.log(1 - probability)
    return total


def _slow_smooth_l1(targets, codes):
    total = 0.0
    for (*target, matched), row in zip(targets, codes, strict=True):
        for t, c in zip(target, row, strict=True):
            distance = abs(float(t) - float(c))
            total += matched * (distance**2 / 2 if distance < 1 else distance - 0.5)
    return total


def test_a_focal_loss_by_hand():
    # Probability 1/2 everywhere: 0.75 * 0.25 * log 2 for the target, 0.25 * 0.25 * log 2 for the other class.
    labels, logits = np.array([[1]]), np.zeros((1, 1, 3), np.float32)
    expected = (0.75 + 0.25) * 0.25 * np.log(2)
    np.testing.assert_allclose(SigmoidFocalLoss()(labels, logits), expected, rtol=1e-5)


def test_a_smooth_l1_by_hand():
    targets = np.array([[[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]], np.float32)
    codes = np.array([[[0.5, -0.5, 2.0, 0.0], [9, 9, 9, 9]]], np.float32)
    np.testing.assert_allclose(SmoothL1Loss()(targets, codes), 0.125 + 0.125 + 1.5, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.75, 2.0), (0.25, 0.0), (0.5, 1.5)])
def test_focal_loss_of_a_batch(alpha, gamma):
    labels = RNG.integers(-1, 4, (3, 10))
    logits = RNG.normal(scale=3, size=(3, 10, 4)).astype(np.float32)
    loss = SigmoidFocalLoss(alpha, gamma)
    sums = np.array([_slow_focal(*image, alpha, gamma) for image in zip(labels, logits, strict=True)])
    matches = (labels > 0).sum()
    np.testing.assert_allclose(loss.call(labels, logits), sums * 3 / matches, rtol=1e-4)
    np.testing.assert_allclose(loss(labels, logits), sums.sum() / matches, rtol=1e-4)


def test_smooth_l1_of_a_batch():
    targets = RNG.normal(size=(3, 10, 5)).astype(np.float32)
    targets[..., 4] = RNG.random((3, 10)) < 0.4
    codes = RNG.normal(size=(3, 10, 4)).astype(np.float32)
    sums = np.array([_slow_smooth_l1(*image) for image in zip(targets, codes, strict=True)])
    matches = targets[..., 4].sum()
    np.testing.assert_allclose(SmoothL1Loss().call(targets, codes), sums * 3 / matches, rtol=1e-4)
    np.testing.assert_allclose(SmoothL1Loss()(targets, codes), sums.sum() / matches, rtol=1e-4)


def test_a_batch_without_matches():
    labels, logits = np.zeros((2, 5)), RNG.normal(size=(2, 5, 3)).astype(np.float32)
    expected = sum(_slow_focal(*image, 0.75, 2.0) for image in zip(labels, logits, strict=True))
    np.testing.assert_allclose(SigmoidFocalLoss()(labels, logits), expected, rtol=1e-4)
    assert SmoothL1Loss()(np.zeros((2, 5, 5)), np.ones((2, 5, 4))) == 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits(gamma):
    extremes = np.array([-1e30, -1e4, -200, -20, 0, 20, 200, 1e4, 1e30], np.float32)
    logits = tf.constant(np.stack([extremes, extremes], axis=-1)[np.newaxis])
    loss = SigmoidFocalLoss(gamma=gamma)
    # An anchor without a box and a score of 1; a box of class 0 and a score of 0.
    for label, wrong, slope in ((0, 7, 0.25), (1, 1, -0.75 / 9)):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(np.full((1, 9), label), logits)
        gradient = tape.gradient(value, logits).numpy()
        assert np.isfinite(value) and np.isfinite(gradient).all()
        # Sure of the wrong answer: the loss is linear, whatever gamma is.
        np.testing.assert_allclose(gradient[0, wrong, 1], slope, rtol=1e-5)


def test_ignored_anchors_have_no_gradient():
    logits, labels = RNG.normal(size=(1, 4, 3)).astype(np.float32), np.array([[-1, 0, 2, -1]])
    logits[0, 3, 1] = np.nan
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = SigmoidFocalLoss()(labels, logits)
    assert np.isfinite(value)
    gradient = tape.gradient(value, logits).numpy()
    assert not gradient[0, [0, 3]].any() and gradient[0, [1, 2], 1:].all()
    assert not gradient[..., 0].any()  # the background's column


@pytest.mark.parametrize(
    ("loss", "y_true"),
    [
        (SigmoidFocalLoss(0.3, 2.0), [[1, 0]]),
        (SigmoidFocalLoss(gamma=1.0), [[1, 0]]),
        (SmoothL1Loss(), [[[1] * 5] * 2]),
    ],
)
def test_a_loss_that_was_written_and_read_computes_the_same(loss, y_true):
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    y_pred = RNG.normal(size=(1, 2, 4)).astype(np.float32)
    assert restored(np.array(y_true), y_pred) == loss(np.array(y_true), y_pred) > 0


def test_half_precision_predictions_are_computed_in_float32():
    labels, logits = np.array([[1, 0]]), np.array([[[-3.0, -6.0], [4.0, 2.0]]])
    loss = SigmoidFocalLoss().call(labels, tf.cast(logits, tf.bfloat16))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, [_slow_focal(labels[0], logits[0], 0.75, 2.0)], rtol=1e-5)


def test_a_compiled_fit_of_a_dict_of_outputs():
    """The keys of the targets are those of the outputs."""
    inputs = keras.Input((8,))
    outputs = {
        "box_codes": keras.layers.Reshape((3, 4))(keras.layers.Dense(12)(inputs)),
        "class_logits": keras.layers.Reshape((3, 2))(keras.layers.Dense(6)(inputs)),
    }
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"box_codes": SmoothL1Loss(), "class_logits": SigmoidFocalLoss()}, jit_compile=False)
    images = RNG.normal(size=(2, 8)).astype(np.float32)
    targets = {"box_codes": np.ones((2, 3, 5), np.float32), "class_logits": np.ones((2, 3), np.int32)}
    predicted = model.predict(images, verbose=0)
    expected = sum(_slow_focal([1] * 3, logits, 0.75, 2.0) for logits in predicted["class_logits"])
    expected += sum(_slow_smooth_l1(*image) for image in zip(targets["box_codes"], predicted["box_codes"], strict=True))
    history = model.fit(images, targets, batch_size=2, verbose=0).history
    np.testing.assert_allclose(history["loss"], [expected / 6], rtol=1e-4)
