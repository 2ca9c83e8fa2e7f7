import json

import pytest
import tensorflow as tf

from condconv_keras.training.config import Execution
from condconv_keras.training.distribution import distributed_batches, is_chief, make_strategy, synchronize_batch_norm
from condconv_keras.utils.errors import UserError
from tests import processes
from tests.training import networks


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        '{"cluster": {}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_worker_must_know_its_place(monkeypatch, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG") as error:
        make_strategy(Execution(strategy="multi_worker_mirrored"))
    assert "\n" not in str(error.value)


def test_no_strategy_is_the_default_one_and_its_own_chief():
    strategy = make_strategy(Execution())
    assert strategy is tf.distribute.get_strategy()
    assert is_chief(strategy)
    shards = []

    def make_batches(shard):
        shards.append(shard)
        return tf.data.Dataset.range(3)

    assert [int(x) for x in distributed_batches(strategy, make_batches)] == [0, 1, 2]
    assert [(s.index, s.count, s.replicas) for s in shards] == [(0, 1, 1)]


def test_devices_are_split_before_anything_is_computed():
    tf.zeros(())
    with pytest.raises(UserError, match="`logical_cpus=2` comes too late"):
        make_strategy(Execution(strategy="mirrored", logical_cpus=2))


def test_no_tpu_is_one_line():
    with pytest.raises(UserError, match="`strategy='tpu'` cannot start"):
        make_strategy(Execution(strategy="tpu"))


def test_batch_normalizations_are_synchronized():
    net = networks.network()
    synchronize_batch_norm(net, True)
    assert net.get_layer("stem_bn").synchronized
    synchronize_batch_norm(net, False)
    assert not net.get_layer("stem_bn").synchronized


# Prints two pairs: the loss of a step of two replicas and the change of the first router's kernel, and what one device
# computes of the whole batch with the mean of the penalties of its halves.
PENALTIES = """
import json
import keras, numpy as np, tensorflow as tf
from condconv_keras import CondConv2D
from condconv_keras.layers.routers import recorded_routing
from condconv_keras.training.config import Execution
from condconv_keras.training.distribution import make_strategy, synchronize_batch_norm
from tests.training import networks

def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(networks.SHAPE)
    options = {"num_experts": 3, "routing_options": {"balance_penalty": 50.0}}
    x = CondConv2D(4, 1, name="first", **options)(inputs)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = CondConv2D(4, 1, **options)(x)
    return keras.Model(inputs, keras.layers.Dense(networks.CLASSES)(keras.layers.GlobalAveragePooling2D()(x)))

strategy = make_strategy(Execution(strategy="mirrored", logical_cpus=2))
(batch,) = networks.batches(1)
with strategy.scope():
    net = network()
    synchronize_batch_norm(net, True)
    model = networks.training_model(net, networks.recipe(), 2)
kernel = net.get_layer("first").router.kernel
before = kernel.numpy()
parts = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch).unbatch().batch(8))
step = tf.function(lambda part: strategy.run(model.train_step, args=(part,)), autograph=False)
logs = step(next(iter(parts)))
loss = strategy.experimental_local_results(logs["loss"])[0]

one = network()
with tf.GradientTape() as tape, recorded_routing(one) as routing:
    outputs = one(batch[0], training=True)
    expected = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(batch[1], outputs, from_logits=True))
    for _, weights in routing:
        for half in tf.split(weights, 2):
            means = tf.reduce_mean(half, axis=0)
            expected += 50 / 2 * tf.math.reduce_variance(means) / tf.reduce_mean(means) ** 2
gradient = tape.gradient(expected, one.get_layer("first").router.kernel.value)
pairs = [loss, expected], [(before - kernel.numpy()) / 0.1, gradient]
print(json.dumps([[np.ravel(value).tolist() for value in pair] for pair in pairs]))
"""


def test_the_loss_of_a_replica_has_its_own_penalties_alone():
    pairs = json.loads(processes.run("-c", PENALTIES).stdout.splitlines()[-1])
    for of_replicas, of_one in pairs:
        assert of_replicas == pytest.approx(of_one, rel=1e-3, abs=1e-4)
