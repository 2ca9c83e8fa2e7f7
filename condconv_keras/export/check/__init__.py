"""Exported files compared with the Keras model that they came from, on real images."""
