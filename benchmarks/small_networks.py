"""Times training steps of small networks at 32x32, plain and with 4, 8 and 16 experts, as seconds an epoch.

    python -m benchmarks.small_networks [--networks=mobilenet_v1_0.25,residual] [--experts=4,8,16] [--csv=FILE]

The step is that of `train.py` at batch 128 without its input, timed in interleaved rounds of one run; an epoch has
50,000 images, as CIFAR-10 has. Images are noise. `mobilenet_v1_WIDTH` is the zoo's, of 1,000 classes. `residual` and
`separable` stand for what people build themselves, of 10 classes: nine 3x3 layers with shortcuts, and four separable
blocks after a 3x3 one; all 3x3 layers but the first, and all separable blocks, have experts.
"""

import collections
import statistics
import sys

from absl import flags

from benchmarks.checks import check_names, positive_integers
from benchmarks.rounds import ratio_of, timed_rounds
from benchmarks.work import make_call
from condconv_keras.commands import cli
from condconv_keras.utils.files import write_rows

FLAGS = flags.FLAGS

_BATCH, _IMAGES = 128, 50_000
_SHAPE = (32, 32, 3)

Row = collections.namedtuple(
    "Row", "network experts plain_s condconv_s ratio ratio_low ratio_high parameters madds_ratio"
)


def _mobilenet(width):
    from condconv_keras.models import build_model

    def build(experts):
        if not experts:
            return build_model("mobilenet_v1", input_shape=_SHAPE, width_multiplier=width)
        return build_model("condconv_mobilenet_v1", input_shape=_SHAPE, width_multiplier=width, num_experts=experts)

    return build


def _residual(experts):
    """3x3 of 16 filters, then four residual blocks of two 3x3 layers: 16, 16, 32 and 64 filters, 32x32 to 8x8."""
    import keras

    inputs = keras.Input(_SHAPE)
    x = _normalized(keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs))
    for filters, stride in ((16, 1), (16, 1), (32, 2), (64, 2)):
        shortcut = x
        if stride > 1:
            shortcut = keras.layers.Conv2D(filters, 1, stride, use_bias=False)(x)
        routed = _routing(x, experts)
        x = _normalized(_conv(filters, experts, stride)(x, *routed))
        x = _normalized(_conv(filters, experts)(x, *routed), activate=False)
        x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    return _classifier(inputs, x)


def _separable(experts):
    """3x3 of 8 filters and four blocks of depthwise 3x3 and 1x1: 12, 18, 27 and 27 filters, 16x16 to 4x4."""
    import keras

    from condconv_keras import DepthwiseCondConv2D

    inputs = keras.Input(_SHAPE)
    x = _normalized(keras.layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(inputs))
    for filters, stride in ((12, 1), (18, 2), (27, 1), (27, 2)):
        routed = _routing(x, experts)
        common = {"strides": stride, "padding": "same", "use_bias": False}
        depthwise = DepthwiseCondConv2D(3, experts, **common) if experts else keras.layers.DepthwiseConv2D(3, **common)
        x = _normalized(depthwise(x, *routed))
        x = _normalized(_conv(filters, experts, kernel=1)(x, *routed))
    return _classifier(inputs, x)


def _routing(x, experts):
    """The routing weights of a block, a list of one tensor, or of none for a plain block."""
    from condconv_keras import Routing

    return [Routing(experts)(x)] if experts else []


def _conv(filters, experts, stride=1, kernel=3):
    import keras

    from condconv_keras import CondConv2D

    common = {"strides": stride, "padding": "same", "use_bias": False}
    return CondConv2D(filters, kernel, experts, **common) if experts else keras.layers.Conv2D(filters, kernel, **common)


def _normalized(x, activate=True):
    import keras

    x = keras.layers.BatchNormalization()(x)
    return keras.layers.ReLU()(x) if activate else x


def _classifier(inputs, x):
    import keras

    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))


NETWORKS = {
    "mobilenet_v1_0.125": _mobilenet(0.125),
    "mobilenet_v1_0.25": _mobilenet(0.25),
    "residual": _residual,
    "separable": _separable,
}


def main(argv):
    cli.expect_flags_only(argv)
    check_names("network", FLAGS.networks, NETWORKS)
    experts = positive_integers("experts", FLAGS.experts)
    rows = []
    for name in FLAGS.networks:
        for row in _measure(name, experts):
            rows.append(row)
            print(_line(row), file=sys.__stdout__, flush=True)
    if FLAGS.csv:
        write_rows(FLAGS.csv, Row._fields, [row._asdict() for row in rows])


def _measure(name, experts):
    """A `Row` for each number of experts: all of them and the plain network in turn."""
    import keras

    from condconv_keras.layers import use_fused_batch_norm
    from condconv_keras.profiling import profile

    networks = {count: use_fused_batch_norm(NETWORKS[name](count)) for count in (0, *experts)}
    profiles = {count: profile(network) for count, network in networks.items()}
    calls = {count: make_call("training", network, _BATCH) for count, network in networks.items()}
    times = timed_rounds(calls, FLAGS.rounds, seconds=0.2)
    keras.backend.clear_session()
    epoch = {count: statistics.median(seconds) * _IMAGES / _BATCH for count, seconds in times.items()}
    return [
        Row(
            name,
            count,
            round(epoch[0], 2),
            round(epoch[count], 2),
            *(round(ratio, 3) for ratio in ratio_of(times[0], times[count])),
            profiles[count].parameters,
            round(profiles[count].multiply_adds / profiles[0].multiply_adds, 3),
        )
        for count in experts
    ]


def _line(row):
    return (
        f"{row.network:19} n={row.experts:<3} plain {row.plain_s:6.1f} s an epoch  CondConv {row.condconv_s:6.1f} s  "
        f"ratio {row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})  multiply-adds {row.madds_ratio:.2f}"
    )


if __name__ == "__main__":
    flags.DEFINE_list("networks", list(NETWORKS), "Networks to time.")
    flags.DEFINE_list("experts", ["4", "8", "16"], "Numbers of experts.")
    flags.DEFINE_integer("rounds", 11, "Interleaved rounds; the median is taken.", lower_bound=3)
    flags.DEFINE_string("csv", None, "Also write the rows to this file.")
    cli.run(main)
