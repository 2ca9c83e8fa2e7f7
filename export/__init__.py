"""Export of trained classifiers to SavedModel and TFLite, checked numerically: `python -m export --help`."""
