"""Images with class labels or boxes: sources, preprocessing, augmentation and batching.

    ds = open_dataset("digits")
    batches = training_batches(ds, ds.train_split, preprocessing, 32, AugmentationOptions("pad_crop"))
    model.fit(batches, steps_per_epoch=steps_per_epoch(ds, ds.train_split, 32), epochs=10)

Nothing here imports TensorFlow before a data set is read, so that a script can check its flags at once.
"""

from typing import TYPE_CHECKING

from condconv_keras.utils.lazy import attach

_HOME = {
    "AugmentationOptions": "condconv_keras.data.augment.augmentation",
    "Dataset": "condconv_keras.data.dataset",
    "DetectionDataset": "condconv_keras.data.detection_dataset",
    "ImageDataset": "condconv_keras.data.dataset",
    "InputShard": "condconv_keras.data.input.shard",
    "Preprocessing": "condconv_keras.facts.preprocessing",
    "evaluation_batches": "condconv_keras.data.input.pipeline",
    "open_dataset": "condconv_keras.data.opening",
    "open_detection_dataset": "condconv_keras.data.opening",
    "register_source": "condconv_keras.data.opening",
    "steps_per_epoch": "condconv_keras.data.input.streams",
    "training_batches": "condconv_keras.data.input.pipeline",
}

__all__ = [
    "AugmentationOptions",
    "Dataset",
    "DetectionDataset",
    "ImageDataset",
    "InputShard",
    "Preprocessing",
    "evaluation_batches",
    "open_dataset",
    "open_detection_dataset",
    "register_source",
    "steps_per_epoch",
    "training_batches",
]

if TYPE_CHECKING:
    from condconv_keras.data.augment.augmentation import AugmentationOptions
    from condconv_keras.data.dataset import Dataset, ImageDataset
    from condconv_keras.data.detection_dataset import DetectionDataset
    from condconv_keras.data.input.pipeline import evaluation_batches, training_batches
    from condconv_keras.data.input.shard import InputShard
    from condconv_keras.data.input.streams import steps_per_epoch
    from condconv_keras.data.opening import open_dataset, open_detection_dataset, register_source
    from condconv_keras.facts.preprocessing import Preprocessing
else:
    __getattr__, __dir__ = attach(__name__, _HOME)
