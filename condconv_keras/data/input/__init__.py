"""Streams of batches: decoding, sharding, the tf.data service."""
