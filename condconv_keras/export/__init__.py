"""Export of classifiers and detectors to SavedModel and TFLite, checked numerically: `python -m export --help`.

`formats` lists what can be written, a class for each kind of file; `source` finds the model, `check` compares a file
with it, and `folder.write_folder` does all of it for a folder. What depends on the kind of model is in `classification`
and `detection`.
"""

from condconv_keras.utils.lazy import attach

_HOME = {
    "ExportFormat": "condconv_keras.export.format",
    "FORMATS": "condconv_keras.export.formats",
    "Gate": "condconv_keras.export.check.gate",
    "WriteOptions": "condconv_keras.export.format",
    "write_folder": "condconv_keras.export.folder",
}

__all__ = ["FORMATS", "ExportFormat", "Gate", "WriteOptions", "write_folder"]

__getattr__, __dir__ = attach(__name__, _HOME)
