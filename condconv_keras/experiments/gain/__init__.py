"""Pairs of a plain network and its twin, trained with the same seeds: `python -m condconv_keras.experiments.gain`."""
