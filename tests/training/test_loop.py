import numpy as np
import pytest

from condconv_keras.training.loop import Segment, freeze, segments
from tests.training import networks


@pytest.mark.parametrize(
    ("step", "freeze_epochs", "expected"),
    [
        (0, 0, [Segment(0, 0, 5, False)]),
        (20, 0, [Segment(2, 0, 5, False)]),
        (23, 0, [Segment(2, 3, 3, False), Segment(3, 0, 5, False)]),
        (0, 2, [Segment(0, 0, 2, True), Segment(2, 0, 5, False)]),
        (13, 2, [Segment(1, 3, 2, True), Segment(2, 0, 5, False)]),
        (7, 2, [Segment(0, 7, 1, True), Segment(1, 0, 2, True), Segment(2, 0, 5, False)]),
        (49, 0, [Segment(4, 9, 5, False)]),
        (50, 2, []),
    ],
)
def test_segments_of_five_epochs_of_ten_steps(step, freeze_epochs, expected):
    assert list(segments(step, 10, 5, freeze_epochs)) == expected


def test_a_frozen_network_trains_its_classifier_alone():
    net = networks.network()
    # AdamW moves what has no gradient, too, by its decay.
    model = networks.training_model(net, networks.recipe(optimizer="adamw", weight_decay=0.1))
    values = {v.path: v.numpy() for v in net.variables}
    freeze(net, True)
    batches = networks.batches(3)
    for batch in batches:
        model.train_step(batch)
    for variable in net.variables:
        moved = not np.array_equal(variable.numpy(), values[variable.path])
        assert moved == variable.path.startswith("classifier"), variable.path
    freeze(net, False)
    model.train_step(batches[0])
    for variable in net.variables:
        if "seed" not in variable.path:
            assert not np.array_equal(variable.numpy(), values[variable.path]), variable.path
