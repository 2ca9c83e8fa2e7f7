"""What a classifier returns, logits or probabilities: decided once, and kept in its card.

A softmax of probabilities is a wrong answer that nobody sees. Where a network has its softmax, in a layer of its own,
as an activation, inside another model or a function, does not matter: its answers to a few images are rows of numbers
in 0..1 that sum to 1. Numbers outside 0..1 are logits. What the answers leave open the graph decides, by the operation
that the outputs come from.
"""

import dataclasses

from condconv_keras.facts.model_card import CLASSIFICATION, LOGITS, PROBABILITIES
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import numpy as np
from condconv_keras.utils.lazy import tensorflow as tf

# A sum of 1,000 probabilities in bfloat16 is farther from 1 than any in float32.
SUM_TOLERANCE = 0.01
# How far, as a part of each other, sums of a whole are apart where the answers may be of any type, and in float32; and
# of how many images such sums are no accident.
_ROUGH_TOLERANCE, _EXACT_TOLERANCE = 1e-3, 1e-4
_FEWEST_ROWS = 3
# Types of operations in TensorFlow's graph: those that leave every value as it is,
_PASSING = frozenset({"Cast", "EnsureShape", "ExpandDims", "Identity", "Reshape", "Squeeze", "StopGradient"})
# those that take values together and stay within their range,
_POOLING = frozenset({"AvgPool", "Max", "MaxPool", "Mean"})
# those that scale or shift them by a constant, or take two of a kind together,
_COMBINING = frozenset({"Add", "AddN", "AddV2", "Mul", "RealDiv", "Sub"})
# and those whose values have no range, or no upper end, though they may all lie in 0..1.
_UNBOUNDED = frozenset(
    {"Add", "AddN", "AddV2", "BatchMatMulV2", "BiasAdd", "Conv2D", "Einsum", "Elu", "FusedBatchNormV3", "LeakyRelu"}
    | {"LogSoftmax", "MatMul", "Relu", "Selu", "Softplus"}
)
_SOFTMAX, _SIGMOID = "Softmax", "Sigmoid"
_ADVICE = "let it end in logits (no activation) or in a softmax"


def with_returns(model, card, place="the model"):
    """Returns the card of a classifier with `returns`, which is found out if the card does not say it.

    On another backend than TensorFlow the card stays as it is, and so does one of another task or of other outputs.

    Args:
        model: Keras model.
        card: its `ModelCard`.
        place: what an error calls the model.

    Raises:
        UserError: it returns neither, as a sigmoid of each class; what it returns cannot be told; or it does not take
            the images that the card is for.
    """
    if card.task != CLASSIFICATION or card.returns is not None or not card.fits(model):
        return card
    if keras.backend.backend() != "tensorflow":
        return card
    return dataclasses.replace(card, returns=_returned(model, card.preprocessing, place))


def _returned(model, preprocessing, place):
    try:
        answers = keras.ops.cast(
            single_output(model(preprocessing.scale_images(probe_images(preprocessing)), training=False)), "float32"
        )
    except (ValueError, TypeError, tf.errors.OpError) as error:
        shape = preprocessing.input_shape
        raise UserError(f"{place} does not take images of the shape {shape}: {one_line(error, 200)}") from error
    answers = np.asarray(answers)
    check_no_percent(answers, place)
    if (answers < -SUM_TOLERANCE).any():
        return LOGITS
    operation = _last_operation(model, preprocessing)
    if operation == _SIGMOID:  # be it in percent
        raise UserError(f"{place} ends in a sigmoid, whose numbers are neither logits nor sum to 1: {_ADVICE}")
    by_value = returned_by_value(answers)
    if by_value is not None:
        return by_value
    if not np.isfinite(answers).all():  # of a model that diverged
        return PROBABILITIES if operation == _SOFTMAX else LOGITS
    if operation in _UNBOUNDED:
        return LOGITS
    raise UserError(
        f"{place} returns numbers in 0..1 that do not sum to 1, and ends in {operation}: {_ADVICE}, or save it with a "
        f"ModelCard that says `returns={LOGITS!r}`"
    )


def check_no_percent(rows, place):
    """Raises a `UserError` for answers [images, classes] that are parts of another whole than 1."""
    total = rows[0].sum()
    if _are_parts(rows, _ROUGH_TOLERANCE) and abs(total - 1) > SUM_TOLERANCE:
        raise UserError(f"{place} returns numbers that sum to {total:.3g} for every image, as in percent: {_ADVICE}")


def returned_by_value(rows):
    """What answers [images, classes] are by their values, `"logits"` or `"probabilities"`; None if they leave it open.

    Numbers in 0..1 that do not sum to 1 may be logits, or sigmoids, which are neither.
    """
    if (rows < -SUM_TOLERANCE).any() or (rows > 1 + SUM_TOLERANCE).any():
        return LOGITS
    return PROBABILITIES if are_probabilities(rows) else None


def probe_images(preprocessing):
    """A black image, a white one and noise, float32 [3, height, width, channels] in 0..255."""
    images = np.random.default_rng(0).uniform(0, 255, (3, *preprocessing.input_shape)).astype(np.float32)
    images[0], images[1] = 0, 255
    return images


def _are_parts(rows, tolerance):
    """Whether the numbers of each row are parts of a whole, the same for all rows up to `tolerance`, as a part of it.

    Of a network that answers nearly the same to all images, the sums of logits are equal, too: such rows are none.
    """
    sums = rows.sum(axis=-1)
    differ = np.isfinite(rows).all() and (rows >= 0).all() and np.ptp(rows, axis=0).max() > SUM_TOLERANCE * sums[0]
    return bool(differ and np.allclose(sums, sums[0], rtol=tolerance, atol=0))


def _last_operation(model, preprocessing):
    """The type of the operation that a model's outputs come from."""
    spec = tf.TensorSpec((None, *preprocessing.input_shape), tf.float32)
    traced = tf.function(lambda images: single_output(model(images, training=False)), autograph=False)
    operation = _source(traced.get_concrete_function(spec).outputs[0], _PASSING | _POOLING)
    return _SIGMOID if _is_sigmoid(operation) else operation.type


def _is_sigmoid(operation):
    """Whether an operation is a sigmoid, or takes sigmoids together with each other and with constants."""
    if operation.type not in _COMBINING:
        return operation.type == _SIGMOID
    operands = [_source(tensor, _PASSING | _POOLING) for tensor in operation.inputs]
    computed = [operand for operand in operands if operand.type != "Const"]
    return bool(computed) and all(map(_is_sigmoid, computed))


def _source(tensor, passed):
    """The operation in TensorFlow's graph that a tensor comes from, behind those whose types are passed over."""
    operation = tensor.op
    while operation.type in passed:
        operation = operation.inputs[0].op
    return operation


def single_output(outputs):
    """Returns the one tensor that a classifier returns, alone or in a list or dict."""
    (output,) = keras.tree.flatten(outputs)
    return output


def softmax_input(outputs):
    """Returns the logits whose softmax a tensor of TensorFlow's graph is, in its shape, or None if it is none."""
    operation = _source(outputs, _PASSING)
    if operation.type != _SOFTMAX:
        return None
    logits = tf.cast(operation.inputs[0], outputs.dtype)
    return tf.reshape(logits, outputs.shape) if logits.shape[-1] == outputs.shape[-1] else None


def check_logits(outputs, card):
    """Raises a `UserError` for a tensor of TensorFlow's graph that is a softmax where the card speaks of logits."""
    if card.returns == LOGITS and hasattr(outputs, "op") and _source(outputs, _PASSING).type in (_SOFTMAX, _SIGMOID):
        raise UserError(
            f"the card of the model {card.model!r} says that it returns logits, and it ends in a softmax or sigmoid; "
            f"save it with a ModelCard without `returns`"
        )


def check_rows_of_logits(rows, card):
    """Raises a `UserError` for outputs [images, classes] that are parts of one whole where the card speaks of logits.

    Of a softmax that the graph does not show as one, or in a file. Of few images logits may be so by chance.
    """
    if card.returns != LOGITS or len(rows) < _FEWEST_ROWS or rows.shape[-1] < 2:
        return
    if _are_parts(rows, _EXACT_TOLERANCE):
        raise UserError(
            f"the card of the model {card.model!r} says that it returns logits, and it returns numbers that sum to "
            f"{rows[0].sum():.3g} for every image; save it with a ModelCard without `returns`"
        )


def are_probabilities(rows, tolerance=SUM_TOLERANCE):
    """Whether each row of an array [rows, classes] has numbers in 0..1 that sum to 1; a NaN is none."""
    rows = np.asarray(rows, np.float64)
    in_range = (rows >= -tolerance) & (rows <= 1 + tolerance)
    return bool(in_range.all() and (np.abs(rows.sum(axis=-1) - 1) <= tolerance).all())
