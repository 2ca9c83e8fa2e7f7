"""Distribution strategies: one machine, several devices, several machines, TPUs."""

import json
import os

from condconv_keras.data import InputShard
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.keras_graph import all_layers
from condconv_keras.utils.lazy import keras
from condconv_keras.utils.lazy import tensorflow as tf


def make_strategy(execution):
    """Sets TensorFlow up for a run; to be called before anything else is computed.

    Args:
        execution: `Execution`.

    Returns:
        A `tf.distribute.Strategy`; for `"none"` TensorFlow's default one.

    Raises:
        UserError: the devices, the workers or the TPU do not exist, or `TF_CONFIG` does not describe this worker.
    """
    check_workers(execution)

    if execution.deterministic:
        tf.config.experimental.enable_op_determinism()
    if execution.logical_cpus is not None:
        _split_cpu(execution.logical_cpus)
    if execution.strategy == "none":
        return tf.distribute.get_strategy()
    if execution.strategy not in _STRATEGIES:
        names = ", ".join(("none", *_STRATEGIES))
        raise UserError(f"`strategy` is one of {names}. Received: strategy={execution.strategy!r}")
    try:
        return _STRATEGIES[execution.strategy](execution)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise UserError(f"`strategy={execution.strategy!r}` cannot start: {one_line(error, 300)}") from error


def _split_cpu(count):
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        raise UserError(f"`logical_cpus={count}` comes too late: {one_line(error)}") from error


def _mirrored(execution):
    if execution.logical_cpus is None:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(execution.logical_cpus)])


def _multi_worker_mirrored(execution):
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu(execution):
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu=execution.tpu or "local")
    return tf.distribute.TPUStrategy(resolver)


_STRATEGIES = {"mirrored": _mirrored, "multi_worker_mirrored": _multi_worker_mirrored, "tpu": _tpu}


def check_workers(execution):
    """Raises a `UserError` unless `TF_CONFIG`, where it is needed, describes the workers and this one's place."""
    if execution.strategy != "multi_worker_mirrored":
        return
    text = os.environ.get("TF_CONFIG")
    expected = (
        "`strategy='multi_worker_mirrored'` needs the environment variable TF_CONFIG as "
        '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    )
    if not text:
        raise UserError(f"{expected}; it is not set")
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = cluster[task["type"]]
        known = set(cluster) <= {"chief", "worker"} and 0 <= int(task["index"]) < len(addresses)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{expected}; received: {one_line(text, 200)}") from error
    if not known:
        raise UserError(f"{expected}; received: {one_line(text, 200)}")


def is_chief(strategy):
    """Whether this process writes the run's files: the only one, the chief, or worker 0 where there is no chief."""
    resolver = strategy.cluster_resolver
    if resolver is None or not is_multi_worker(strategy):
        return True
    return resolver.task_type == "chief" or (
        "chief" not in resolver.cluster_spec().jobs and (resolver.task_type, resolver.task_id) == ("worker", 0)
    )


def is_multi_worker(strategy):
    """Whether the strategy has several processes, each of which runs the program."""

    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and _worker_count(strategy) > 1


def _worker_count(strategy):
    spec = strategy.cluster_resolver.cluster_spec().as_dict()
    return sum(len(addresses) for addresses in spec.values())


def on_any_worker(strategy, value):
    """Whether a value is true on any worker; returns when every worker has called it."""
    if not is_multi_worker(strategy):
        return value

    return bool(strategy.reduce(tf.distribute.ReduceOp.SUM, tf.constant(float(value)), axis=None) > 0)


def wait_for_all(strategy):
    """Returns when every worker has called it."""
    on_any_worker(strategy, False)


def distributed_batches(strategy, make_batches):
    """Returns the batches of every replica as one distributed data set.

    Args:
        strategy: `tf.distribute.Strategy`.
        make_batches: function of an `InputShard` that returns the `tf.data.Dataset` of that input pipeline.
    """

    def of_pipeline(context):
        count = context.num_input_pipelines
        return make_batches(InputShard(context.input_pipeline_id, count, context.num_replicas_in_sync // count))

    return strategy.distribute_datasets_from_function(of_pipeline)


def synchronize_batch_norm(model, synchronized):
    """Makes the batch normalizations of a model compute their statistics over all replicas, or over each its own."""

    for layer in all_layers(model, include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized
