"""What is measured of routers after an epoch, and what is said of them: routers set by hand against NumPy."""

import dataclasses
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import evaluation_batches, open_dataset
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.layers import CondConv2D, Routing
from condconv_keras.routing_statistics import sample
from condconv_keras.routing_statistics.by_epoch import read_by_epoch
from condconv_keras.routing_statistics.sample import RoutingSample
from condconv_keras.training.config import Execution
from condconv_keras.training.routing_advice import gentler
from condconv_keras.training.routing_watch import RoutingWatch
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from tests.training import networks

PREPROCESSING = Preprocessing(input_size=(8, 8), channels=1, mean=0.0, std=255.0)
DATASET = open_dataset("digits")
EXPERTS = {"first": 3, "second": 2}


def routed_network(activation="sigmoid"):
    """Two CondConv layers; the router of the second one reads the image's mean, as the first one's does."""
    inputs = keras.Input((8, 8, 1))
    x = inputs
    for name, experts in EXPERTS.items():
        weights = Routing(experts, activation=activation, name=name)(inputs)
        x = CondConv2D(2, 3, num_experts=experts, name=f"{name}_conv")(x, weights)
    network = keras.Model(inputs, x)
    set_routers(network, first=([99, -99, 0], [-31, 31, -50]), second=([30, 3], [-9, 1]))
    return network


def set_routers(network, **routers):
    for name, (kernel, bias) in routers.items():
        network.get_layer(name).set_weights([np.float32([kernel]), np.float32(bias)])


def watch(network, folder, log_routing=False, **recipe):
    card = ModelCard("tiny", DATASET.class_names, PREPROCESSING)
    plan = types.SimpleNamespace(
        config=types.SimpleNamespace(execution=Execution(log_routing=log_routing), starts_anew=True),
        card=card,
        dataset=DATASET,
        recipe=networks.recipe(**recipe),
    )
    return RoutingWatch(network, plan, RunFolder(folder))


def expected_weights(network, name, every=1):
    """The weights [images, experts] of held-out images, by NumPy alone."""
    ((images, _),) = evaluation_batches(DATASET, "test", PREPROCESSING, 1000, scaled=False)
    means = (np.asarray(images, np.float64)[::every] / 255).mean(axis=(1, 2))
    kernel, bias = network.get_layer(name).get_weights()
    return 1 / (1 + np.exp(-(means @ kernel + bias)))


def run_epoch(callback, epoch):
    """An epoch of training, as far as the callback sees it; returns its logs."""
    callback.on_epoch_begin(epoch)
    logs = {"loss": 1.0}
    callback.on_epoch_end(epoch, logs)
    callback.on_train_end()
    return logs


def test_the_rows_and_the_logs_are_numpys_of_the_present_weights(tmp_path):
    network = routed_network()
    callback = watch(network, tmp_path)
    run_epoch(callback, 0)
    set_routers(network, second=([0, 0], [5, -1]))
    logs = run_epoch(callback, 1)
    rows = read_by_epoch(tmp_path / "routing.csv")
    assert [(row.epoch, row.layer, row.experts) for row in rows] == [
        (epoch, *layer) for epoch in (0, 1) for layer in EXPERTS.items()
    ]
    # One for 64 training images: 22; every 17th of the 360, as ten classes might take turns.
    first = expected_weights(network, "first", every=17)
    assert len(first) == 22
    constant = 1 / (1 + np.exp([-5.0, 1.0])) * np.ones((22, 1))
    saturated = [(weights < 0.05) | (weights > 0.95) for weights in (first, constant)]
    assert 0 < saturated[0][:, 0].mean() < 1
    for row, weights, share in zip(rows[2:], (first, constant), saturated, strict=True):
        assert row.mean == pytest.approx(weights.mean(), abs=2e-6)
        assert row.spread == pytest.approx(weights.std(axis=0).mean(), abs=2e-6)
        assert row.saturation == pytest.approx(share.mean(), abs=2e-6)
    assert [row.in_use for row in rows[2:]] == [2, 2]  # the bias of the third expert is -50
    assert rows[0] == dataclasses.replace(rows[2], epoch=0) and rows[1].spread > 0.1
    assert list(logs) == ["loss", "experts_in_use", "saturation", "spread"]
    assert (logs["experts_in_use"], callback.experts) == (4.0, 5)
    assert logs["saturation"] == pytest.approx(np.concatenate(saturated, axis=1).mean())
    assert logs["spread"] == pytest.approx(np.concatenate([first, constant], axis=1).std(axis=0).mean(), abs=1e-6)


def test_experts_that_are_off_in_the_warm_up_are_not_named(tmp_path, capsys):
    callback = watch(routed_network(), tmp_path, warmup_epochs=2.5)
    run_epoch(callback, 2)
    assert capsys.readouterr().err == ""
    run_epoch(callback, 3)
    assert "1 of 3 experts of first is on for none" in capsys.readouterr().err


def test_a_dead_expert_is_named_once_and_not_after_the_first_epoch(tmp_path, capsys):
    callback = watch(routed_network(), tmp_path)
    run_epoch(callback, 0)
    assert capsys.readouterr().err == ""
    run_epoch(callback, 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 1 of 3 experts of first is on for none of 22 held-out images after epoch 2: ")
    remedies = "`router_scale=0`, `router_learning_rate=0.3`, `routing_temperature=30`, `expert_start='alike'`"
    assert line.endswith(f"try {remedies}, `clip_norm=1` or a lower `learning_rate`, in a new run")
    run_epoch(callback, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("bias", "advice"), [(0.5, "try more `epochs`"), (-9, "try `router_scale=0`")])
def test_constant_routing_is_named_once_after_the_warm_up(tmp_path, capsys, bias, advice):
    network = routed_network()
    callback = watch(network, tmp_path, warmup_epochs=1.5)
    # One layer that differs between images is enough.
    constant = {name: ([0] * experts, [abs(bias)] * experts) for name, experts in EXPERTS.items()}
    set_routers(network, first=constant["first"])
    run_epoch(callback, 2)
    set_routers(network, **constant)
    run_epoch(callback, 1)
    assert capsys.readouterr().err == ""
    run_epoch(callback, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "warning: every image has nearly the same routing weights after epoch 3 (a spread below 0.01 "
    )
    assert advice in line
    run_epoch(callback, 3)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("recipe", "starts_anew", "expected"),
    [
        ({"router_scale": 0, "clip_norm": 1.0}, True, ["router_learning_rate=0.3", "routing_temperature=30"]),
        (
            {"router_learning_rate": 0.3, "clip_norm": 5.0},
            False,
            ["router_learning_rate=0.1", "routing_temperature=30", "clip_norm=1"],
        ),
        (
            {"expert_start": "anchored", "routing_temperature": 9, "router_learning_rate": 0.1, "clip_norm": 0.5},
            True,
            [],
        ),
    ],
)
def test_what_is_in_force_or_decided_by_a_file_is_not_advised(recipe, starts_anew, expected):
    assert gentler(networks.recipe(**recipe), starts_anew) == [f"`{words}`" for words in expected]


def test_routers_that_are_slow_on_purpose_may_be_faster(tmp_path, capsys):
    network = routed_network()
    set_routers(network, **{name: ([0] * experts, [0.5] * experts) for name, experts in EXPERTS.items()})
    run_epoch(watch(network, tmp_path, router_learning_rate=0.3), 2)
    expected = "try more `epochs`, a higher `router_learning_rate` or a higher `learning_rate`"
    assert capsys.readouterr().err.rstrip().endswith(expected)


def test_a_softmax_is_called_neither_dead_nor_constant(tmp_path, capsys):
    network = routed_network("softmax")
    set_routers(network, first=([0, 0, 0], [9, 0, 0]), second=([0, 0], [9, 0]))
    logs = run_epoch(watch(network, tmp_path), 1)
    assert logs["spread"] == 0
    assert list(logs) == ["loss", "saturation", "spread"]
    assert [row.in_use for row in read_by_epoch(tmp_path / "routing.csv")] == [None, None]
    assert capsys.readouterr().err == ""


def test_weights_that_are_not_finite_are_named_and_not_kept(tmp_path, capsys):
    network = routed_network()
    callback = watch(network, tmp_path)
    run_epoch(callback, 0)
    set_routers(network, second=([0, 0], [np.nan, 0]))
    assert run_epoch(callback, 1) == {"loss": 1.0}
    assert capsys.readouterr().err.startswith("warning: the routing weights of held-out images are not finite after ")
    assert {row.epoch for row in read_by_epoch(tmp_path / "routing.csv")} == {0}
    # Neither are the rows that an earlier run wrote of this epoch and of later ones.
    run_epoch(watch(network, tmp_path), 0)
    assert read_by_epoch(tmp_path / "routing.csv") == ()


def test_a_run_that_goes_on_keeps_the_rows_of_its_earlier_epochs(tmp_path):
    network = routed_network()
    for epoch in range(3):
        run_epoch(watch(network, tmp_path), epoch)
    kept = read_by_epoch(tmp_path / "routing.csv")[:2]
    set_routers(network, first=([0, 0, 0], [0, 0, 0]))
    run_epoch(watch(network, tmp_path), 1)  # from the checkpoint at the end of the first epoch
    rows = read_by_epoch(tmp_path / "routing.csv")
    assert [row.epoch for row in rows] == [0, 0, 1, 1]
    assert rows[:2] == kept and rows[2].spread == 0 != kept[0].spread
    (tmp_path / "routing.csv").write_text("epoch,layer\n0,first\n")
    with pytest.raises(UserError, match=r"expected the columns epoch, layer, experts, .* restore or remove the file"):
        watch(network, tmp_path)


def test_tensorboard_gets_the_same_measurement_of_more_images(tmp_path):
    network = routed_network()
    callback = watch(network, tmp_path, log_routing=True)
    run_epoch(callback, 0)
    set_routers(network, first=([0, 0, 0], [0, 0, 0]))
    run_epoch(callback, 1)
    logged = _logged(tmp_path / "tensorboard/routing")
    assert (logged["dead_experts/first", 0], logged["dead_experts/first", 1]) == (1, 0)
    weights = expected_weights(network, "second")
    assert logged["routing_mean/second", 1] == pytest.approx(weights.mean(), rel=1e-5)
    assert logged["routing/second", 1][:, 2].sum() == weights.size == 720
    ((_, labels),) = evaluation_batches(DATASET, "test", PREPROCESSING, 1000)
    labels = np.asarray(labels)
    means = np.array([weights[labels == label].mean(axis=0) for label in labels])
    specificity = means.var(axis=0).sum() / weights.var(axis=0).sum()
    assert logged["class_specificity/second", 1] == pytest.approx(specificity, rel=1e-4)
    assert read_by_epoch(tmp_path / "routing.csv")[1].mean == pytest.approx(weights.mean(), abs=2e-6)


def _logged(folder):
    """A dict of (tag, step) to the array in the one file of a folder."""
    (path,) = folder.iterdir()
    return {
        (value.tag, event.step): tf.make_ndarray(value.tensor)
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


@pytest.mark.parametrize(
    ("examples", "classes", "images", "side", "every"),
    [
        (360, 10, 512, 8, 1),
        (10_000, 10, 256, 8, 41),  # 40 would meet one class of ten that take turns
        (100, 3, 1, 8, 5),  # 20 at least
        (100, 10, 1, 8, 3),  # 7, the next one, would take 15
        (41, 6, 20, 8, 1),  # 2 and 3 would meet half and a third of the classes, 5 take 9 images
        (7, 7, 1, 8, 1),
        (50_000, 1000, 256, 224, 227),  # 222 images of 224 x 224 are 128 MiB
    ],
)
def test_how_many_images_are_taken(monkeypatch, examples, classes, images, side, every):
    asked = []
    monkeypatch.setattr(sample, "presence_batches", lambda *arguments: asked.append(arguments) or [])
    dataset = types.SimpleNamespace(
        splits={"test": examples}, evaluation_split="test", class_names=tuple(map(str, range(classes)))
    )
    channels = 3 if side == 224 else 1
    card = ModelCard("tiny", dataset.class_names, Preprocessing((side, side), channels, 0.0, 255.0))
    assert list(RoutingSample(None, card, dataset, images)._read()) == []
    ((*_, taken),) = asked
    assert taken == every
