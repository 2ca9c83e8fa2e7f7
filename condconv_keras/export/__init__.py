"""Export of classifiers and detectors to SavedModel and TFLite, checked numerically: `python -m export --help`."""
