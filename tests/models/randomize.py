"""Weights as of a trained model: no batch normalization or bias keeps its initial value."""

import numpy as np


def randomize(model, seed=0):
    """Sets every weight of a model to random values that keep the features alive at any depth."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, weight.shape)
        elif name in ("beta", "moving_mean", "bias", "condconv_bias"):
            value = rng.normal(0, 0.3, weight.shape)
        else:
            value = np.asarray(weight)
        weight.assign(value.astype("float32"))


def images(size, channels=3, batch=2, seed=1):
    """Random images in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (batch, size, size, channels)).astype("float32")
