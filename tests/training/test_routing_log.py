import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import evaluation_batches, open_dataset
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.pretrained import create_model
from condconv_keras.routing_statistics.routing_model import RoutingModel
from condconv_keras.training.routing_log import RoutingLog
from tests.seeds import set_seed


def _logged(folder):
    """A dict of (tag, step) to the array in the one file of a folder."""
    (path,) = folder.iterdir()
    return {
        (value.tag, event.step): tf.make_ndarray(value.tensor)
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


def test_what_is_logged_are_the_present_weights(tmp_path):
    set_seed(0)
    options = {"width_multiplier": 0.25, "num_experts": 2, "start_block": 13, "classes": 10}
    network = create_model("condconv_mobilenet_v1", input_shape=(32, 32, 1), **options)
    dataset = open_dataset("digits")
    preprocessing = Preprocessing(input_size=(32, 32), channels=1, mean=127.5, std=127.5)
    log = RoutingLog(network, ModelCard("model", dataset.class_names, preprocessing), dataset, tmp_path / "routing")
    log.on_train_begin()
    log.on_epoch_end(0)
    bias = network.get_layer("block_13_routing").bias
    bias.assign(bias + np.array([-50, 3], np.float32))  # the first expert dies
    log.on_epoch_end(1)
    log.on_train_end()
    logged = _logged(tmp_path / "routing")
    assert logged["dead_experts/block_13_routing", 0] == 0
    assert logged["dead_experts/block_13_routing", 1] == 1
    routing = RoutingModel(network, preprocessing)
    ((images, labels),) = evaluation_batches(dataset, "test", preprocessing, 1000, scaled=False)
    weights, labels = routing(images)[0].astype(np.float64), labels.numpy()
    assert logged["routing_mean/block_13_routing", 1] == pytest.approx(weights.mean(), rel=1e-5)
    assert logged["routing_mean/block_13_routing", 0] > 0.4
    means = np.array([weights[labels == label].mean(axis=0) for label in labels])
    expected = means.var(axis=0).sum() / weights.var(axis=0).sum()
    assert logged["class_specificity/block_13_routing", 1] == pytest.approx(expected, rel=1e-4)
    assert logged["routing/block_13_routing", 1][:, 2].sum() == weights.size
