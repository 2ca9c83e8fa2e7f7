"""Export of classifiers and detectors to SavedModel and TFLite, checked numerically: `python -m export --help`.

`formats` lists what can be written, a class for each kind of file; `check` compares a file with its model, and
`folder.write_folder` does all of it for a folder. What depends on the kind of model is its task's
(`condconv_keras.tasks`).
"""

from typing import TYPE_CHECKING

from condconv_keras.utils.lazy import attach

_HOME = {
    "ExportFormat": "condconv_keras.export.format",
    "FORMATS": "condconv_keras.export.formats",
    "ExportCheck": "condconv_keras.export.check.export_check",
    "WriteOptions": "condconv_keras.export.format",
    "write_folder": "condconv_keras.export.folder",
}

__all__ = ["FORMATS", "ExportCheck", "ExportFormat", "WriteOptions", "write_folder"]

if TYPE_CHECKING:
    from condconv_keras.export.check.export_check import ExportCheck
    from condconv_keras.export.folder import write_folder
    from condconv_keras.export.format import ExportFormat, WriteOptions
    from condconv_keras.export.formats import FORMATS
else:
    __getattr__, __dir__ = attach(__name__, _HOME)
