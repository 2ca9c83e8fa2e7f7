"""kxk layers of small feature maps and many examples, which is what a study on small images spends its time in.

`python -m benchmarks.layers --grid=small` runs it. At every point it times forward and gradient of a plain layer, and
of a CondConv layer, whose form is the one that it selects for itself in training. A point holds where the CondConv
layer takes at most 1.5 * (1 + experts / output pixels) times the time of the plain one: its arithmetic, and half as
much again. Where the plain layer takes less than 0.3 ms, 0.3 ms more is the limit if that is more. At a point that does
not hold, two parts of the layer are timed in turn with it: its mixing alone, and the same layer with one expert, which
has nothing to mix.
"""

import collections
import itertools
import statistics

from benchmarks.applications import make_inputs, tensorflow_call
from benchmarks.rounds import timed_rounds

BATCHES = ("32", "128", "256")
_CHANNELS, _KERNELS, _STRIDES, _SIZES, _EXPERTS = (8, 16, 32, 64), (3, 5), (1, 2), (32, 16, 8, 4, 2), (2, 4, 8, 16)
_ARITHMETIC = 1.5
_SHORT_MS = 0.3
# Applications in a call; one of a layer of so many multiply-adds, where starting the call does not count.
_APPLICATIONS, _LARGE = 4, 3e8


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
    "Row", [*Point._fields, "plain_ms", "condconv_ms", "ratio", "limit", "mixing_ms", "one_expert_ms"]
)


def grid(batches):
    """All points with these batch sizes."""
    return [Point(*each) for each in itertools.product(_CHANNELS, _KERNELS, _STRIDES, _SIZES, _EXPERTS, batches)]


def limit(point, plain):
    """How many times as long as a plain layer of `plain` ms the CondConv layer may take at a point."""
    arithmetic = _ARITHMETIC * (1 + point.experts / point.pixels)
    return max(arithmetic, 1 + _SHORT_MS / plain) if plain < _SHORT_MS else arithmetic


def measure(point, rounds):
    """Returns the `Row` of a point."""
    calls = {"plain": _layer_call(point), "condconv": _layer_call(point, point.experts)}
    plain, condconv = _milliseconds(calls, point, rounds)
    ratio, most = condconv / plain, limit(point, plain)
    parts = (None, None)
    if ratio > most:
        calls |= {"mixing": _mixing_call(point), "one expert": _layer_call(point, 1)}
        plain, condconv, *parts = _milliseconds(calls, point, rounds)
        ratio, most = condconv / plain, limit(point, plain)
    return Row(
        *point, *(None if value is None else round(value, 4) for value in (plain, condconv, ratio, most, *parts))
    )


def _layer_call(point, experts=None):
    """A call of `_applications(point)` plain layers, or CondConv layers of `experts` experts, with gradients."""
    import keras

    from condconv_keras import CondConv2D

    common = {"strides": point.stride, "padding": "same", "use_bias": False}
    shapes = [(point.batch, point.size, point.size, point.channels)]
    if experts is None:
        layer = keras.layers.Conv2D(point.channels, point.kernel, **common)
    else:
        layer = CondConv2D(point.channels, point.kernel, experts, **common)
        shapes.append((point.batch, experts))
    layer.build(*shapes)
    return tensorflow_call(layer, make_inputs(shapes, _applications(point)), training=True)


def _mixing_call(point):
    """A call that mixes the kernels of a batch and computes the gradients of experts and routing weights."""
    import tensorflow as tf

    from condconv_keras.layers.forms.portable import mix

    shapes = [(point.batch, point.experts), (point.experts, point.kernel_size), (point.batch, point.kernel_size)]
    inputs = [tuple(map(tf.constant, each)) for each in make_inputs(shapes, _applications(point))]

    @tf.function
    def call():
        results = [[]]
        for routing_weights, bank, upstream in inputs:
            with tf.control_dependencies(results[-1]), tf.GradientTape() as tape:
                tape.watch((routing_weights, bank))
                kernels = mix(tf.identity(routing_weights), bank, bank.dtype)
                results.append([kernels, *tape.gradient(kernels, (routing_weights, bank), upstream)])
        return results[1:]

    return call


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
        f"{Point(*row[:6])!s:26} plain {row.plain_ms:8.3f} ms  CondConv {row.condconv_ms:8.3f} ms  "
        f"ratio {row.ratio:5.2f}  limit {row.limit:5.2f}"
    )
    if row.ratio <= row.limit:
        return line
    return f"{line}  missed: mixing {row.mixing_ms:.3f} ms, with one expert {row.one_expert_ms:.3f} ms"


def verdict(rows):
    """One line: at how many points the layer holds, and where it is farthest from its limit."""
    holding = sum(row.ratio <= row.limit for row in rows)
    farthest = max(rows, key=lambda row: row.ratio / row.limit)
    mean = statistics.geometric_mean(row.ratio for row in rows)
    return (
        f"small maps: {holding} of {len(rows)} points within their limits; ratio {mean:.2f} on the geometric mean; "
        f"the farthest, {Point(*farthest[:6])}, at {farthest.ratio:.2f} where {farthest.limit:.2f} is the limit"
    )
