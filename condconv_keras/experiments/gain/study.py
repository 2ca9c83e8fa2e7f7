"""The settings of docs/when-experts-pay.md and of `make demo`, by name."""

import types

from condconv_keras.experiments.gain.settings import PLAIN, TWIN, Setting
from condconv_keras.models import model_entry

_GENTLE = "--router_scale=0 --router_learning_rate=0.1"
_AUTHORS = "--router_scale=1 --router_learning_rate=1"  # their routers, which the recipes of small data have not
# By set the number of training images that settings were chosen on.
_HELD_OUT = {"instruments": 5760, "fashion_mnist": 10000, "glyphs": 6000, "scenes": 1000}
# By network the names of the places of its experts, by the first block that has some.
_PLACES = {
    "separable_cnn": {1: "all_blocks", 3: "last_two_blocks"},
    "small_resnet": {1: "all_blocks", 2: "last_two_blocks"},
    "mobilenet_v1": {1: "all_blocks", 12: "last_two_blocks"},
}


def _classifier(
    network,
    dataset,
    *,
    width,
    experts,
    start_block=1,
    in_classifier=True,
    epochs,
    plain_rate,
    twin_rate,
    other_rates,
    twin_flags,
    longer,
    same_multiply_adds,
    same_parameters,
    softmax=None,
):
    """A network on a set of scripts/, each side with the flags that were chosen for it.

    Args:
        network: registry name of the plain network.
        dataset: name of the set and of its script.
        width: of the plain network and its twin.
        experts: the twin's.
        start_block: the first block of the twin that has experts.
        in_classifier: whether the twin's classifier has some.
        epochs: of all sides but one.
        plain_rate, twin_rate: learning rates, as chosen on held-out training images.
        other_rates: dict of other numbers of experts to theirs.
        twin_flags: its others.
        longer: epochs, more of them, of a plain network that gets the time that the twin takes.
        same_multiply_adds, same_parameters: width of the plain network that has about as many as the twin.
        softmax: by name the rate and other flags of twins whose routers are softmaxes.
    """

    def plain(width, epochs=epochs):
        return f"--model={network} --width_multiplier={width} --epochs={epochs} --learning_rate={plain_rate}"

    default_block = model_entry(f"condconv_{network}").placement.start_block

    def twin(count=experts, rate=twin_rate, block=start_block, start=twin_flags, in_classifier=in_classifier):
        placement = f"--num_experts={count}" + (f" --start_block={block}" if block != default_block else "")
        placement += "" if in_classifier else " --nocondconv_classifier"
        conditional = f"--model=condconv_{network} --width_multiplier={width} {placement}"
        return f"{conditional} --epochs={epochs} --learning_rate={rate} {start}".rstrip()

    sides = {
        PLAIN: plain(width),
        TWIN: twin(),
        "longer": plain(width, longer),
        "same_multiply_adds": plain(same_multiply_adds),
        "same_parameters": plain(same_parameters),
        **{f"experts_{count}": twin(count, rate) for count, rate in other_rates.items()},
        "plain_classifier" if in_classifier else "condconv_classifier": twin(in_classifier=not in_classifier),
        **{name: twin(block=block) for block, name in _PLACES[network].items() if block != start_block},
        "router_per_layer": f"{twin()} --routing_per=layer",
        "router_per_network": f"{twin()} --routing_per=network",
        "start_as_built": twin(start=_AUTHORS),
        **{
            name: f"{twin(rate=rate, start=flags)} --routing_activation=softmax"
            for name, (rate, flags) in (softmax or {}).items()
        },
        "start_annealed": twin(start=f"{_AUTHORS} {_falling_temperature(epochs)}"),
    }
    return _setting(dataset, common="--warmup_epochs=0.5 --label_smoothing=0", sides=sides)


def _falling_temperature(epochs):
    """The flags of a temperature that falls over the first half of a run's epochs."""
    return f"--routing_temperature=30 --temperature_epochs={epochs / 2:g}"


def _detector(*, plain, twin):
    """The SSD detector of width 0.25 on scenes of digits; the recipe is that of the set, of 8 epochs.

    Args:
        plain, twin: flags of the two, as chosen on held-out scenes.
    """
    network, conditional = "--model=ssd300_mobilenet_v1", "--model=condconv_ssd300_mobilenet_v1 --width_multiplier=0.25"
    sides = {
        PLAIN: f"{network} --width_multiplier=0.25 {plain}",
        TWIN: f"{conditional} {twin}",
        "longer": f"{network} --width_multiplier=0.25 {plain} --epochs=10",
        "same_multiply_adds": f"{network} --width_multiplier=0.26 {plain}",
        "same_parameters": f"{network} --width_multiplier=0.49 {plain}",
        "start_as_built": f"{conditional} --num_experts=4 --learning_rate=0.03 {_AUTHORS}",
    }
    return _setting("scenes", metric="AP", sides=sides)


def _setting(dataset, **fields):
    """The `Setting` of a set that is written by its script."""
    return Setting(dataset=dataset, maker=("-m", f"scripts.{dataset}"), held_out_images=_HELD_OUT[dataset], **fields)


SETTINGS = types.MappingProxyType(
    {
        "separable_fashion_mnist": _classifier(
            "separable_cnn",
            "fashion_mnist",
            width=0.5,
            experts=8,
            epochs=12,
            longer=15,
            plain_rate=0.4,
            twin_rate=0.4,
            other_rates={16: 0.4},
            twin_flags="--router_scale=0 --router_learning_rate=0.3",
            same_multiply_adds=0.545,
            same_parameters=1.76,
        ),
        "separable_instruments": _classifier(
            "separable_cnn",
            "instruments",
            width=1,
            experts=8,
            epochs=8,
            longer=10,
            plain_rate=1.6,
            twin_rate=0.8,
            # Two and 32 experts were better at twice these rates, but there an expert died in a run of the test.
            other_rates={1: 1.6, 2: 1.6, 4: 1.6, 16: 0.8, 32: 0.8},
            twin_flags=_GENTLE,
            same_multiply_adds=1.19,
            same_parameters=4.14,
            softmax={
                "softmax": (0.8, _GENTLE),
                "softmax_annealed": (0.8, f"{_AUTHORS} {_falling_temperature(8)}"),
            },
        ),
        "separable_glyphs": _classifier(
            "separable_cnn",
            "glyphs",
            width=1,
            experts=4,
            in_classifier=False,
            epochs=8,
            longer=10,
            plain_rate=1.6,
            twin_rate=1.6,
            other_rates={8: 0.8},
            twin_flags=f"{_GENTLE} {_falling_temperature(8)}",
            same_multiply_adds=1.05,
            same_parameters=1.22,
        ),
        "resnet_instruments": _classifier(
            "small_resnet",
            "instruments",
            width=0.5,
            experts=8,
            # With experts in the first block, too, whose router reads four channels, one of five runs lost one.
            start_block=2,
            epochs=8,
            longer=10,
            plain_rate=1.6,
            twin_rate=0.8,
            other_rates={},
            twin_flags=_GENTLE,
            same_multiply_adds=0.57,
            same_parameters=1.56,
        ),
        "mobilenet_fashion_mnist": _classifier(
            "mobilenet_v1",
            "fashion_mnist",
            width=0.25,
            experts=4,
            start_block=6,
            epochs=10,
            longer=13,
            plain_rate=0.4,
            twin_rate=0.2,
            other_rates={},
            twin_flags=_GENTLE,
            same_multiply_adds=0.365,
            same_parameters=0.495,
        ),
        "scenes": _detector(
            plain="--learning_rate=0.015",
            twin=f"--num_experts=4 --learning_rate=0.03 {_GENTLE}",
        ),
        # docs/results/demo/tuning.csv has what was tried.
        "digits": Setting(
            dataset="digits",
            maker=None,
            common="--width_multiplier=0.25 --input_size=32 --epochs=30 --weight_decay=0 --label_smoothing=0",
            sides={
                PLAIN: "--model=separable_cnn --learning_rate=0.4",
                TWIN: f"--model=condconv_separable_cnn --learning_rate=0.4 {_GENTLE}",
            },
        ),
    }
)
