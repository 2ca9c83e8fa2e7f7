"""A tf.data service of one dispatcher and two workers in this process."""

import gc
import itertools
import socket

import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import AugmentationOptions, InputShard, Preprocessing, open_dataset, training_batches
from condconv_keras.utils.errors import UserError

RAW = Preprocessing((8, 8), 1, 0.0, 1.0)
BATCH = 90  # four batches in an epoch of the 360 test digits


@pytest.fixture(scope="module")
def address():
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    host = dispatcher.target.removeprefix("grpc://")
    workers = [service.WorkerServer(service.WorkerConfig(host, heartbeat_interval_ms=100)) for _ in range(2)]
    yield dispatcher.target
    gc.collect()  # iterators that are alive would look for the dispatcher
    del workers


def _batches(seed, **kwargs):
    options = AugmentationOptions("inception")
    return training_batches(open_dataset("digits"), "test", RAW, BATCH, options, seed=seed, **kwargs)


def _take(dataset, count):
    return [images for images, _ in itertools.islice(dataset.as_numpy_iterator(), count)]


def test_the_workers_share_the_epochs(address):
    dataset = _batches(3, data_service=address)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert dataset.element_spec[0].shape.as_list() == [BATCH, 8, 8, 1]
    known = {images.tobytes(): number for number, images in enumerate(_take(_batches(3), 40))}
    numbers = [known[images.tobytes()] for images in _take(dataset, 12)]
    assert len(set(numbers)) == 12
    for epoch in {number // 4 for number in numbers}:
        of_epoch = [number for number in numbers if number // 4 == epoch]
        assert of_epoch == list(range(4 * epoch, 4 * epoch + len(of_epoch)))


def test_clients_share_the_batches(address):
    clients = [iter(_batches(4, shard=InputShard(index, 2, 1), data_service=address)) for index in range(2)]
    halves = [next(clients[i % 2])[0].numpy() for i in range(12)]
    reference = np.concatenate(_take(_batches(4), 40)).reshape(-1, BATCH // 2, 8, 8, 1)
    known = {images.tobytes() for images in reference}
    received = {images.tobytes() for images in halves}
    assert len(received) == 12
    assert received <= known


@pytest.mark.parametrize(
    "wrong",
    ["localhost:5000", "http://localhost:5000", "grpc://localhost", "grpc://localhost:port", "grpc://:5000", ""],
)
def test_what_is_no_address(wrong):
    with pytest.raises(UserError, match=r"as grpc://host:port, received: "):
        _batches(0, data_service=wrong)


def test_nobody_answers():
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        address = f"grpc://localhost:{unused.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no tf.data service answers at '{address}': .*refused"):
            _batches(0, data_service=address)
