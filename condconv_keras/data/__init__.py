"""Images with class labels or boxes: sources, preprocessing, augmentation and batching.

    ds = open_dataset("digits")
    batches = training_batches(ds, ds.train_split, preprocessing, 32, AugmentationOptions("pad_crop"))
    model.fit(batches, steps_per_epoch=steps_per_epoch(ds, ds.train_split, 32), epochs=10)

Nothing here imports TensorFlow before a data set is read, so that a script can check its flags at once.
"""

import importlib

_HOME = {
    "AugmentationOptions": "augmentation",
    "DetectionDataset": "detection_dataset",
    "ImageDataset": "dataset",
    "InputShard": "shard",
    "Preprocessing": "preprocessing",
    "evaluation_batches": "pipeline",
    "open_dataset": "dataset",
    "open_detection_dataset": "detection_dataset",
    "steps_per_epoch": "streams",
    "training_batches": "pipeline",
}

__all__ = [
    "AugmentationOptions",
    "DetectionDataset",
    "ImageDataset",
    "InputShard",
    "Preprocessing",
    "evaluation_batches",
    "open_dataset",
    "open_detection_dataset",
    "steps_per_epoch",
    "training_batches",
]


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME})
