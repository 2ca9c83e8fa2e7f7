"""Training batches from a tf.data service: machines of their own prepare them."""

import hashlib
import socket
import urllib.parse

from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import tensorflow as tf

SCHEME = "grpc"
TIMEOUT = 10  # seconds


def check_service(address):
    """Raises a `UserError` unless something answers at the address of a dispatcher, `grpc://host:port`.

    tf.data itself tries to connect without end.
    """
    parts = urllib.parse.urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # no number, or none of a port
        host, port = None, None
    if parts.scheme != SCHEME or not host or not port or parts.path:
        raise UserError(f"expected the address of a tf.data service as {SCHEME}://host:port, received: {address!r}")
    try:
        socket.create_connection((host, port), TIMEOUT).close()
    except OSError as error:
        raise UserError(f"no tf.data service answers at {address!r}: {error}") from error


def through_service(batches, address, purpose):
    """Returns the batches as the workers of a tf.data service prepare them.

    Each element of the pipeline's source goes to one worker. All clients with the same purpose share one stream:
    every batch goes to one of them.

    Args:
        batches: `tf.data.Dataset`.
        address: of the dispatcher, as `check_service` accepts it.
        purpose: string that tells this stream from others.
    """
    return batches.apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC,
            service=address,
            job_name=hashlib.sha256(purpose.encode()).hexdigest(),
        )
    )
