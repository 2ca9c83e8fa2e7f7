"""Times our networks and layers against timm's (PyTorch) on the same machine and the same work.

    python -m pip install -r requirements-peers.txt
    python -m benchmarks.peers [--compare=models,layers] [--batch=1,16] [--work=inference,training] [--csv=FILE]

Prints ratios: our median time divided by timm's, of interleaved rounds of one run in one process; below 1 ours
is faster. Both get all cores, float32 and random weights, on which the time does not depend. timm's is timed in both
memory formats, contiguous (its default) and channels last, and compared in the faster one.

Models: EfficientNet-B0 and the paper's CondConv-EfficientNet-B0 with 8 experts, at 224x224. Ours are timed as in
`benchmarks.models`; timm's inference runs in `torch.inference_mode`, its training step is the usual loop: forward,
cross entropy, gradients, momentum SGD. Layers: `CondConv2D` and `DepthwiseCondConv2D` against `timm.layers.CondConv2d`
on the shapes of `benchmarks.layers`; inference, and gradients of all inputs and weights.
"""

import collections
import logging
import statistics
import sys

from absl import flags

from benchmarks.checks import batch_sizes, check_names
from benchmarks.layers import LAYERS, compiled
from benchmarks.rounds import ratio_of, timed_rounds
from benchmarks.work import CLASSES, make_call
from condconv_keras import cli
from condconv_keras.errors import UserError
from condconv_keras.files import write_rows

FLAGS = flags.FLAGS

# Our name, timm's, the experts.
MODELS = (("efficientnet_b0", "tf_efficientnet_b0"), ("condconv_efficientnet_b0", "tf_efficientnet_cc_b0_8e"))
_COMPARE = ("models", "layers")
_WORK = ("inference", "training")
_CHANNELS_LAST = "channels last"

Row = collections.namedtuple("Row", "name work batch ours_ms timm_ms timm_format ratio ratio_low ratio_high")


def main(argv):
    if len(argv) > 1:
        raise UserError(f"expected flags only, received: {' '.join(argv[1:])}")
    check_names("compare", FLAGS.compare, _COMPARE)
    check_names("work", FLAGS.work, _WORK)
    batches = batch_sizes(FLAGS.batch)
    try:
        import timm  # noqa: F401
    except ImportError as error:
        raise UserError("timm is not installed: python -m pip install -r requirements-peers.txt") from error
    # TensorFlow warns that functions are traced anew, which is on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    rows = []
    for name, work, batch, calls, seconds in _comparisons(batches):
        rows.append(_row(name, work, batch, timed_rounds(calls, FLAGS.rounds, seconds)))
        print(_line(rows[-1]), file=sys.__stdout__, flush=True)
        if FLAGS.csv:
            write_rows(FLAGS.csv, Row._fields, [row._asdict() for row in rows])


def _comparisons(batches):
    """Yields name, work, batch size, the calls by name, and the seconds of a round."""
    for batch in batches:
        if "models" in FLAGS.compare:
            for ours, theirs in MODELS:
                for work in FLAGS.work:
                    yield ours, work, batch, _model_calls(ours, theirs, batch, work), 0.5
        if "layers" in FLAGS.compare:
            for layer in LAYERS:
                for work in FLAGS.work:
                    yield layer[0], work, batch, _layer_calls(layer, batch, work), 0.05


def _model_calls(ours, theirs, batch, work):
    from models import create_model

    return {
        "ours": make_call(work, create_model(ours), batch),
        **{name: _timm_model_call(theirs, batch, work, name) for name in ("contiguous", _CHANNELS_LAST)},
    }


def _timm_model_call(name, batch, work, memory_format):
    import timm
    import torch

    model, images, labels = timm.create_model(name), torch.randn(batch, 3, 224, 224), torch.randint(CLASSES, (batch,))
    if memory_format == _CHANNELS_LAST:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if work == "inference":
        return _without_gradients(model.eval(), images)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    model.train()
    return step


def _layer_calls(layer, batch, work):
    import numpy as np

    _, _, size, channels, *_, experts = layer
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, size, size, channels)).astype(np.float32)
    routing = rng.uniform(size=(batch, experts)).astype(np.float32)
    return {
        "ours": _keras_layer_call(layer, images, routing, work),
        **{name: _timm_layer_call(layer, images, routing, work, name) for name in ("contiguous", _CHANNELS_LAST)},
    }


def _keras_layer_call(layer, images, routing, work):
    import tensorflow as tf

    from condconv_keras import CondConv2D, DepthwiseCondConv2D

    _, kind, _, _, filters, kernel, stride, experts = layer
    options = {"strides": stride, "padding": "same", "use_bias": False}
    if kind == "depthwise":
        ours = DepthwiseCondConv2D(kernel, experts, **options)
    else:
        ours = CondConv2D(filters, kernel, experts, **options)
    ours.build(images.shape, routing.shape)
    return compiled(ours, (tf.constant(images), tf.constant(routing)))[_WORK.index(work)]


def _timm_layer_call(layer, images, routing, work, memory_format):
    import torch
    from timm.layers import CondConv2d

    _, kind, _, channels, filters, kernel, stride, experts = layer
    groups = channels if kind == "depthwise" else 1
    theirs = CondConv2d(channels, filters, kernel, stride, padding="", groups=groups, num_experts=experts)
    images, routing = _to_torch(images), torch.from_numpy(routing)
    if memory_format == _CHANNELS_LAST:
        images = images.to(memory_format=torch.channels_last)
    if work == "inference":
        return _without_gradients(theirs, images, routing)
    inputs = [images.requires_grad_(), routing.requires_grad_()]
    variables = [*inputs, *theirs.parameters()]
    return lambda: torch.autograd.grad(theirs(*inputs).sum(), variables)


def _to_torch(images):
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def _without_gradients(module, *inputs):
    import torch

    def call():
        with torch.inference_mode():
            return module(*inputs)

    return call


def _row(name, work, batch, times):
    medians = {key: statistics.median(values) for key, values in times.items()}
    faster = min(("contiguous", _CHANNELS_LAST), key=medians.get)
    ratios = (round(ratio, 3) for ratio in ratio_of(times[faster], times["ours"]))
    milliseconds = (round(1e3 * medians[key], 3) for key in ("ours", faster))
    return Row(name, work, batch, *milliseconds, faster, *ratios)


def _line(row):
    return (
        f"{row.name:28} {row.work:9} b{row.batch:<4} ours {row.ours_ms:9.3f} ms  timm {row.timm_ms:9.3f} ms "
        f"({row.timm_format})  ratio {row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})"
    )


if __name__ == "__main__":
    flags.DEFINE_list("compare", list(_COMPARE), "What to compare: models, layers, or both.")
    flags.DEFINE_list("batch", ["1", "16"], "Batch sizes.")
    flags.DEFINE_list("work", list(_WORK), "What to time: inference, training, or both.")
    flags.DEFINE_integer("rounds", 9, "Interleaved rounds; the median is taken.", lower_bound=3)
    flags.DEFINE_string("csv", None, "Also write the rows to this file, anew after every row.")
    cli.run(main)
