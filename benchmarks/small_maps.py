"""kxk layers of small feature maps and many examples, which is what a study on small images spends its time in.

`python -m benchmarks.layers --grid=small` runs it. At every point it times forward and gradient of a plain layer, and
of a CondConv layer, whose form is the one that it selects for itself in training. A point holds where the CondConv
layer takes at most 1.5 * (1 + experts / output pixels) times the time of the plain one: its arithmetic, and half as
much again. Where the plain layer takes less than 0.3 ms, 0.3 ms more is the limit if that is more. At a point that does
not hold, parts of the layer are timed in turn: its mixing alone, where its form mixes a kernel for each example, and
the same form with one expert, which is little more than its convolution.
"""

import collections
import itertools
import statistics
import sys

from benchmarks.applications import applied_in_turn, make_inputs, tensorflow_call
from benchmarks.rounds import timed_rounds
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import write_rows

BATCHES = ("32", "128", "256")
_CHANNELS, _KERNELS, _STRIDES, _SIZES, _EXPERTS = (8, 16, 32, 64), (3, 5), (1, 2), (32, 16, 8, 4, 2), (2, 4, 8, 16)
_ARITHMETIC = 1.5
_SHORT_MS = 0.3
# Applications in a call; one of a layer of so many multiply-adds, where starting the call does not count.
_APPLICATIONS, _LARGE = 2, 3e8
# Forms that write a kernel for each example.
_MIXES_KERNELS = ("batched_matmul", "grouped_conv", "mapped_conv")


class Point(collections.namedtuple("Point", "channels kernel stride size experts batch")):
    """A layer of as many filters as channels, `same` padding, and a batch."""

    def __str__(self):
        stride = f"/{self.stride}" if self.stride > 1 else ""
        name = f"{self.kernel}x{self.kernel}{stride} {self.size}x{self.size}x{self.channels}"
        return f"{name} n{self.experts} b{self.batch}"

    @property
    def pixels(self):
        """Pixels of the output."""
        side = -(-self.size // self.stride)
        return side * side

    @property
    def kernel_size(self):
        """Weights of one kernel."""
        return self.kernel**2 * self.channels**2


Row = collections.namedtuple(
    "Row", [*Point._fields, "form", "plain_ms", "condconv_ms", "ratio", "limit", "mixing_ms", "one_expert_ms"]
)


def grid(batches):
    """All points with these batch sizes."""
    return [Point(*each) for each in itertools.product(_CHANNELS, _KERNELS, _STRIDES, _SIZES, _EXPERTS, batches)]


def limit(point, plain):
    """How many times as long as a plain layer of `plain` ms the CondConv layer may take at a point."""
    arithmetic = _ARITHMETIC * (1 + point.experts / point.pixels)
    return max(arithmetic, 1 + _SHORT_MS / plain) if plain < _SHORT_MS else arithmetic


def run(points, rounds, csv):
    """Times points, prints a line of each and the verdict, and writes them to the file `csv`, if there is one."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise UserError(f"--grid is TensorFlow's, received: KERAS_BACKEND={keras.backend.backend()}")
    rows = []
    for point in points:
        rows.append(measure(point, rounds))
        print(describe(rows[-1]), file=sys.__stdout__, flush=True)
        keras.backend.clear_session()
        if csv:
            write_rows(csv, Row._fields, [row._asdict() for row in rows])
    print(verdict(rows), file=sys.__stdout__, flush=True)


def measure(point, rounds):
    """Returns the `Row` of a point."""
    calls = {"plain": _layer_call(point), "condconv": _layer_call(point, point.experts)}
    plain, condconv = _milliseconds(calls, point, rounds)
    ratio, most, form = condconv / plain, limit(point, plain), _selected_form(point)
    mixing = one_expert = None
    if ratio > most:
        # In turn with those that are timed already: a machine that is slower now is so for all.
        calls["one expert"] = _layer_call(point, 1, form)
        if form in _MIXES_KERNELS:
            calls["mixing"] = _mixing_call(point)
        _, _, one_expert, *rest = _milliseconds(calls, point, rounds)
        mixing = rest[0] if rest else None
    numbers = (plain, condconv, ratio, most, mixing, one_expert)
    return Row(*point, form, *(None if number is None else round(number, 4) for number in numbers))


def measure_forms(point, forms, rounds):
    """Returns the milliseconds of the plain layer and of the CondConv layer in each of `forms`, a dict by name."""
    calls = {"plain": _layer_call(point), **{form: _layer_call(point, point.experts, form) for form in forms}}
    return dict(zip(calls, _milliseconds(calls, point, rounds), strict=True))


def _selected_form(point):
    import keras

    from condconv_keras.layers.forms.selection import select_form

    spec = conv_spec(point.channels, point.channels, point.kernel, point.stride)
    dtype = keras.config.dtype_policy().compute_dtype
    return select_form(spec, point.experts, point.batch, (point.size, point.size), training=True, dtype=dtype)


def conv_spec(channels, filters, kernel, stride):
    """The `ConvSpec` of a layer with `same` padding."""
    from condconv_keras.layers.forms.geometry import ConvGeometry
    from condconv_keras.layers.forms.portable import ConvSpec

    return ConvSpec(ConvGeometry((kernel, kernel), (stride, stride), "same"), channels, filters)


def _layer_call(point, experts=None, form="auto"):
    """A call of `_applications(point)` plain layers, or CondConv layers of `experts` experts, with gradients."""
    import keras

    from condconv_keras import CondConv2D

    common = {"strides": point.stride, "padding": "same", "use_bias": False}
    shapes = [(point.batch, point.size, point.size, point.channels)]
    if experts is None:
        layer = keras.layers.Conv2D(point.channels, point.kernel, **common)
    else:
        layer = CondConv2D(point.channels, point.kernel, experts, implementation=form, **common)
        shapes.append((point.batch, experts))
    layer.build(*shapes)
    return tensorflow_call(layer, make_inputs(shapes, _applications(point)), training=True)


def _mixing_call(point):
    """A call that mixes the kernels of a batch and computes the gradients of experts and routing weights."""
    import keras
    import tensorflow as tf

    from condconv_keras.layers.forms.portable import mix

    dtype = keras.config.dtype_policy().compute_dtype
    shapes = [(point.batch, point.experts), (point.experts, point.kernel_size), (point.batch, point.kernel_size)]

    def mix_and_differentiate(inputs):
        routing_weights, bank, upstream = inputs
        with tf.GradientTape() as tape:
            tape.watch((routing_weights, bank))
            kernels = mix(routing_weights, bank, dtype)
        return [kernels, *tape.gradient(kernels, (routing_weights, bank), tf.cast(upstream, dtype))]

    return applied_in_turn(mix_and_differentiate, make_inputs(shapes, _applications(point)))


def _applications(point):
    return 1 if point.batch * point.pixels * point.kernel_size >= _LARGE else _APPLICATIONS


def _milliseconds(calls, point, rounds):
    """The medians of each call's application."""
    import tensorflow as tf

    wait = lambda result: tf.test.experimental.sync_devices()  # noqa: E731
    times = timed_rounds(calls, rounds, seconds=0.01, wait=wait)
    return [1e3 * statistics.median(values) / _applications(point) for values in times.values()]


def describe(row):
    """One line of a point."""
    line = (
        f"{Point(*row[:6])!s:26} {row.form:15} plain {row.plain_ms:8.3f} ms  CondConv {row.condconv_ms:8.3f} ms  "
        f"ratio {row.ratio:5.2f}  limit {row.limit:5.2f}"
    )
    if row.ratio <= row.limit:
        return line
    mixing = "" if row.mixing_ms is None else f", mixing alone {row.mixing_ms:.3f} ms"
    return f"{line}  missed: with one expert {row.one_expert_ms:.3f} ms{mixing}"


def verdict(rows):
    """One line: at how many points the layer holds, and where it is farthest from its limit."""
    holding = sum(row.ratio <= row.limit for row in rows)
    farthest = max(rows, key=lambda row: row.ratio / row.limit)
    mean = statistics.geometric_mean(row.ratio for row in rows)
    return (
        f"small maps: {holding} of {len(rows)} points within their limits; ratio {mean:.2f} on the geometric mean; "
        f"the farthest, {Point(*farthest[:6])}, at {farthest.ratio:.2f} where {farthest.limit:.2f} is the limit"
    )
