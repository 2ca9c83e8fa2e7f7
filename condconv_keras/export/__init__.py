"""Export of classifiers and detectors to SavedModel and TFLite, checked numerically: `python -m export --help`.

`formats` lists what can be written, a class for each kind of file; `source` finds the model, `check` compares a file
with it, and `folder.write_folder` does all of it for a folder. What depends on the kind of model is in `classification`
and `detection`.
"""
