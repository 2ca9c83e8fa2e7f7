"""Times our networks and layers against timm's (PyTorch) on the same machine and the same work.

    python -m pip install -r requirements-peers.txt
    python -m benchmarks.peers [--compare=models,layers] [--batch=1,16] [--work=inference,training] [--csv=FILE]

Prints ratios: our median time divided by timm's, of interleaved rounds of one run in one process; below 1 ours
is faster. Both get all cores, float32 and random weights, on which the time does not depend. timm's is timed in both
memory formats, contiguous (its default) and channels last, and compared in the faster one.

Models: EfficientNet-B0 and the paper's CondConv-EfficientNet-B0 with 8 experts, at 224x224. Ours are timed as in
`benchmarks.models`; timm's inference runs in `torch.inference_mode`, its training step is the usual loop: forward,
cross entropy, gradients, momentum SGD. Layers: `CondConv2D` and `DepthwiseCondConv2D` against `timm.layers.CondConv2d`
on the shapes of `benchmarks.layers`; inference, and gradients of all inputs and weights. A layer is one of many in a
network, so a call applies it 8 times, one after the other, to inputs of their own, and its time is divided by 8. Beside
them stands the plain Keras layer of the shape: what a single convolution takes in TensorFlow, without any mixing.
"""

import collections
import logging
import statistics
import sys

from absl import flags

from benchmarks.applications import APPLICATIONS, make_inputs, tensorflow_call
from benchmarks.checks import batch_sizes, check_names
from benchmarks.layers import LAYERS, build, input_shapes
from benchmarks.rounds import ratio_of, timed_rounds
from benchmarks.work import make_call
from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import write_rows

FLAGS = flags.FLAGS

# Our name, timm's, the experts.
MODELS = (("efficientnet_b0", "tf_efficientnet_b0"), ("condconv_efficientnet_b0", "tf_efficientnet_cc_b0_8e"))
_COMPARE = ("models", "layers")
_WORK = ("inference", "training")
_CHANNELS_LAST = "channels last"

Row = collections.namedtuple("Row", "name work batch ours_ms timm_ms timm_format ratio ratio_low ratio_high plain_ms")


def main(argv):
    cli.expect_flags_only(argv)
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
    for name, work, batch, calls, seconds, times in _comparisons(batches):
        rows.append(_row(name, work, batch, timed_rounds(calls, FLAGS.rounds, seconds), times))
        print(_line(rows[-1]), file=sys.__stdout__, flush=True)
        if FLAGS.csv:
            write_rows(FLAGS.csv, Row._fields, [row._asdict() for row in rows])


def _comparisons(batches):
    """Yields name, work, batch size, the calls by name, the seconds of a round, and how often a call does the work."""
    for batch in batches:
        if "models" in FLAGS.compare:
            for ours, theirs in MODELS:
                for work in FLAGS.work:
                    yield ours, work, batch, _model_calls(ours, theirs, batch, work), 0.5, 1
        if "layers" in FLAGS.compare:
            for layer in LAYERS:
                for work in FLAGS.work:
                    yield layer[0], work, batch, _layer_calls(layer, batch, work), 0.05, APPLICATIONS


def _model_calls(ours, theirs, batch, work):
    from condconv_keras.layers import use_fused_batch_norm
    from condconv_keras.models import build_model

    return {
        "ours": make_call(work, use_fused_batch_norm(build_model(ours)), batch),
        **{name: _timm_model_call(theirs, batch, work, name) for name in ("contiguous", _CHANNELS_LAST)},
    }


def _timm_model_call(name, batch, work, memory_format):
    import timm
    import torch

    model, images, labels = timm.create_model(name), torch.randn(batch, 3, 224, 224), torch.randint(1000, (batch,))
    if memory_format == _CHANNELS_LAST:
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if work == "inference":
        model.eval()
        return _without_gradients(lambda: model(images))
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
    plain, forms, _ = build(layer, batch, ("auto",))
    inputs = make_inputs(input_shapes(layer, batch))
    return {
        "ours": tensorflow_call(forms["auto"], inputs, work == "training"),
        "plain": tensorflow_call(plain, [images[:1] for images in inputs], work == "training"),
        **{name: _timm_layer_call(layer, inputs, work, name) for name in ("contiguous", _CHANNELS_LAST)},
    }


def _timm_layer_call(layer, inputs, work, memory_format):
    import torch
    from timm.layers import CondConv2d

    _, kind, _, channels, filters, kernel, stride, experts = layer
    groups = channels if kind == "depthwise" else 1
    theirs = CondConv2d(channels, filters, kernel, stride, padding="", groups=groups, num_experts=experts)
    inputs = [(_to_torch(images), torch.from_numpy(routing)) for images, routing in inputs]
    if memory_format == _CHANNELS_LAST:
        inputs = [(images.to(memory_format=torch.channels_last), routing) for images, routing in inputs]
    if work == "inference":
        return _without_gradients(lambda: [theirs(*each) for each in inputs])
    for each in inputs:
        for tensor in each:
            tensor.requires_grad_()

    def gradients(images, routing):
        outputs = theirs(images, routing)
        return torch.autograd.grad(outputs, [images, routing, *theirs.parameters()], torch.ones_like(outputs))

    return lambda: [gradients(*each) for each in inputs]


def _to_torch(images):
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def _without_gradients(function):
    import torch

    def call():
        with torch.inference_mode():
            return function()

    return call


def _row(name, work, batch, seconds, applications):
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    faster = min(("contiguous", _CHANNELS_LAST), key=medians.get)
    ratios = (round(ratio, 3) for ratio in ratio_of(seconds[faster], seconds["ours"]))
    milliseconds = {key: round(1e3 * median / applications, 4) for key, median in medians.items()}
    return Row(
        name, work, batch, milliseconds["ours"], milliseconds[faster], faster, *ratios, milliseconds.get("plain")
    )


def _line(row):
    plain = f"  plain layer {row.plain_ms:.3f} ms" if row.plain_ms else ""
    return (
        f"{row.name:28} {row.work:9} b{row.batch:<4} ours {row.ours_ms:9.3f} ms  timm {row.timm_ms:9.3f} ms "
        f"({row.timm_format})  ratio {row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f}){plain}"
    )


if __name__ == "__main__":
    flags.DEFINE_list("compare", list(_COMPARE), "Kinds to compare: models, layers, or both.")
    flags.DEFINE_list("batch", ["1", "16"], "Batch sizes.")
    flags.DEFINE_list("work", list(_WORK), "Work to time: inference, training, or both.")
    flags.DEFINE_integer("rounds", 9, "Interleaved rounds; the median is taken.", lower_bound=3)
    flags.DEFINE_string("csv", None, "Also write the rows to this file, anew after every row.")
    cli.run(main)
