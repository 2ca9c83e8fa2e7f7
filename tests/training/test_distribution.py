import pytest
import tensorflow as tf

from condconv_keras.training.config import Execution
from condconv_keras.training.distribution import distributed_batches, is_chief, make_strategy, synchronize_batch_norm
from condconv_keras.utils.errors import UserError
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
