"""Times every form of the CondConv layers against the plain Keras layer of the same shape.

    [KERAS_BACKEND=jax] python -m benchmarks.layers [--only=1x1] [--batch=1,32] [--precision=...] [--csv=FILE]
    python -m benchmarks.layers --grid=small [--only=3x3] [--batch=32,128,256] [--csv=FILE]

Prints ratios: the median time of a form divided by that of the plain layer, forward and forward + backward (gradients
of input, routing weights and all variables), from interleaved rounds of one run. On TensorFlow a call applies the layer
several times, as in a network (`benchmarks/applications.py`). `*` marks the form that `implementation="auto"`
selects, once for inference and once for training; "selected/fastest" is its distance from the fastest form.

`--grid=small` times small feature maps in training instead, see `benchmarks/small_maps.py`, and ends with one line of
how many of its points are within their limits.
"""

import collections
import logging
import statistics
import sys

from absl import flags

from benchmarks import small_maps
from benchmarks.applications import APPLICATIONS, make_inputs, tensorflow_call
from benchmarks.checks import batch_sizes
from benchmarks.rounds import timed_rounds, wait_for_device
from condconv_keras.commands import cli
from condconv_keras.training.config import PRECISIONS
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import write_rows

FLAGS = flags.FLAGS

# Name, kind, size, channels, filters, kernel, stride, experts.
_POINTWISE = [
    (f"1x1 {channels}x{channels} n{experts} {size}x{size}", "conv", size, channels, channels, 1, 1, experts)
    for channels, experts in ((128, 4), (128, 8), (512, 4), (512, 8))
    for size in (1, 2, 4, 7, 14)
]
LAYERS = [
    *_POINTWISE,
    ("1x1 classifier 1024x1000 n8", "conv", 1, 1024, 1000, 1, 1, 8),
    ("3x3 14x14x256 n8", "conv", 14, 256, 256, 3, 1, 8),
    ("3x3 7x7x512 n8", "conv", 7, 512, 512, 3, 1, 8),
    ("3x3 7x7x512 n4", "conv", 7, 512, 512, 3, 1, 4),
    ("3x3 2x2x256 n4", "conv", 2, 256, 256, 3, 1, 4),
    ("3x3/2 14x14x256 n8", "conv", 14, 256, 256, 3, 2, 8),
    ("dw 3x3 14x14x512 n8", "depthwise", 14, 512, 512, 3, 1, 8),
    ("dw 3x3/2 14x14x512 n8", "depthwise", 14, 512, 512, 3, 2, 8),
    ("dw 5x5 14x14x672 n8", "depthwise", 14, 672, 672, 5, 1, 8),
    ("dw 3x3 7x7x1024 n8", "depthwise", 7, 1024, 1024, 3, 1, 8),
    ("dw 5x5 7x7x1152 n8", "depthwise", 7, 1152, 1152, 5, 1, 8),
    ("dw 5x5/2 14x14x672 n8", "depthwise", 14, 672, 672, 5, 2, 8),
    ("dw 3x3 2x2x512 n4", "depthwise", 2, 512, 512, 3, 1, 4),
]

_BATCHES = ("1", "32")
# Of a larger feature map a dense layer has too many weights.
_DENSE_SIZE = 4

Row = collections.namedtuple(
    "Row", ["layer", "batch", "form", "forward", "backward", "selected_forward", "selected_backward"]
)


def build(layer, batch, implementations=None):
    """Returns the plain layer, the CondConv layer by form, and what `auto` selects for inference and training.

    Args:
        layer: one of `LAYERS`.
        batch: examples.
        implementations: the forms; default: those that the layer supports.
    """
    import keras

    from condconv_keras import CondConv2D, DepthwiseCondConv2D
    from condconv_keras.layers.forms import selection

    _, kind, size, _, filters, kernel, stride, experts = layer
    common = {"strides": stride, "padding": "same", "use_bias": False}
    depthwise = kind == "depthwise"
    if not depthwise:
        plain = keras.layers.Conv2D(filters, kernel, **common)
        make = lambda name: CondConv2D(filters, kernel, experts, implementation=name, **common)  # noqa: E731
    else:
        plain = keras.layers.DepthwiseConv2D(kernel, **common)
        make = lambda name: DepthwiseCondConv2D(kernel, experts, implementation=name, **common)  # noqa: E731
    implementations = implementations or selection.supported_forms(depthwise, 1, (stride, stride))
    if size > _DENSE_SIZE:
        implementations = [name for name in implementations if name != "dense"]
    forms = {name: make(name) for name in implementations}
    images, routing = input_shapes(layer, batch)
    plain.build(images)
    for form in forms.values():
        form.build(images, routing)
    spec = next(iter(forms.values())).spec
    selected = [
        selection.select_form(spec, experts, batch, (size, size), training, plain.compute_dtype)
        for training in (False, True)
    ]
    return plain, forms, selected


def input_shapes(layer, batch):
    """Returns the shapes of a layer's images and routing weights."""
    _, _, size, channels, _, _, _, experts = layer
    return (batch, size, size, channels), (batch, experts)


def layer_calls(layer, batch, applications=APPLICATIONS):
    """Returns the calls of a layer on noise, plain and in every form that computes the batch, by name.

    Args:
        layer: one of `LAYERS`.
        batch: examples.
        applications: how often a call applies the layer, on TensorFlow.

    Returns:
        `(calls, selected)`: a dict of `"plain"` and then the forms to pairs of functions as of `compiled`, and the
        forms that `auto` selects for inference and training.
    """
    import keras

    plain, forms, selected = build(layer, batch)
    if batch > 1:
        del forms["single_conv"]
    precise = make_inputs(input_shapes(layer, batch), applications)
    inputs = [(keras.ops.convert_to_tensor(images, plain.compute_dtype), routing) for images, routing in precise]
    calls = {"plain": compiled(plain, [images[:1] for images in inputs])}
    return calls | {name: compiled(form, inputs) for name, form in forms.items()}, selected


def compiled(layer, inputs):
    """Returns the forward and the forward + backward call of a layer on inputs as of `make_inputs`."""
    import keras

    if keras.backend.backend() == "jax":
        return _jax_calls(layer, inputs)
    return [tensorflow_call(layer, inputs, training) for training in (False, True)]


def _jax_calls(layer, inputs):
    """Of one application: JAX starts a call at once."""
    import jax

    weights = [variable.value for variable in layer.trainable_variables]

    def outputs(weights, args):
        return layer.stateless_call(weights, [], *args)[0]

    forward = jax.jit(outputs)
    backward = jax.jit(jax.grad(lambda *args: outputs(*args).sum(), argnums=(0, 1)))
    inputs = [jax.numpy.asarray(each) for each in inputs[0]]
    return lambda: forward(weights, inputs), lambda: backward(weights, inputs)


def _medians(calls, rounds):
    times = timed_rounds(calls, rounds, seconds=0.01, wait=wait_for_device)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(layer, batch, rounds):
    """Returns a `Row` for each form: its times are ratios to the plain layer's."""
    calls, selected = layer_calls(layer, batch)
    forward, backward = (_medians({name: pair[way] for name, pair in calls.items()}, rounds) for way in (0, 1))
    return [
        Row(
            layer[0],
            batch,
            name,
            forward[name] / forward["plain"],
            backward[name] / backward["plain"],
            name == selected[0],
            name == selected[1],
        )
        for name in calls
        if name != "plain"
    ]


def describe(rows):
    """One line: how far the selected forms are from the fastest, and every form's ratios."""
    forward = next(r for r in rows if r.selected_forward).forward / min(r.forward for r in rows)
    backward = next(r for r in rows if r.selected_backward).backward / min(r.backward for r in rows)
    cells = (
        f"{r.form} {r.forward:.2f}{'*' * r.selected_forward}/{r.backward:.2f}{'*' * r.selected_backward}" for r in rows
    )
    return f"{rows[0].layer:28} b{rows[0].batch:<3} selected/fastest {forward:.2f}/{backward:.2f}  {'  '.join(cells)}"


def main(_):
    batches = batch_sizes(FLAGS.batch or (small_maps.BATCHES if FLAGS.grid else _BATCHES))
    points = {str(point): point for point in small_maps.grid(batches)}
    candidates = points if FLAGS.grid else {layer[0]: layer for layer in LAYERS}
    chosen = [candidate for name, candidate in candidates.items() if FLAGS.only in name]
    if not chosen:
        raise UserError(f"--only expects a part of a layer's name, received: {FLAGS.only}")
    import keras

    keras.config.set_dtype_policy(FLAGS.precision)
    # TensorFlow warns that every layer is traced, which is on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if FLAGS.grid:
        small_maps.run(chosen, FLAGS.rounds, FLAGS.csv)
    else:
        _time_forms(chosen, batches)


def _time_forms(layers, batches):
    rows = []
    for layer in layers:
        for batch in batches:
            measured = measure(layer, batch, FLAGS.rounds)
            rows += measured
            print(describe(measured), file=sys.__stdout__, flush=True)
    if FLAGS.csv:
        write_rows(FLAGS.csv, Row._fields, [row._asdict() for row in rows])


if __name__ == "__main__":
    flags.DEFINE_string("only", "", "Run only the layers whose name contains this text.")
    flags.DEFINE_enum("grid", None, ["small"], "Time a grid of layers in training: small, kxk layers of small maps.")
    flags.DEFINE_list("batch", None, "Batch sizes; default: 1,32, of the grid 32,128,256.")
    flags.DEFINE_integer("rounds", 9, "Interleaved rounds; the median is taken.", lower_bound=3)
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the layers.")
    flags.DEFINE_string("csv", None, "Also write the rows to this file.")
    cli.run(main, backends=("tensorflow", "jax"))
