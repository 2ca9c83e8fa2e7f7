"""The kinds of models that the exporter knows."""

from condconv_keras.export.classification import ClassifierExport
from condconv_keras.export.detection import DetectorExport
from condconv_keras.facts.model_card import CLASSIFICATION, DETECTION

_TASKS = {CLASSIFICATION: ClassifierExport(), DETECTION: DetectorExport()}


def export_task(name):
    """Returns the `condconv_keras.export.task.ExportTask` of this name, one of `TASKS`."""
    if name not in _TASKS:
        raise ValueError(f"`name` must be one of {tuple(_TASKS)}. Received: {name!r}")
    return _TASKS[name]
