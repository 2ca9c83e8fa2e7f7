"""A small detector with random weights that finds boxes, and a data set whose truth is what it finds."""

import numpy as np
from PIL import Image

from condconv_keras.data.sources.photographs import photographs
from condconv_keras.export.check import representative
from condconv_keras.export.formats import TFLITE
from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.stored.untrained import untrained_model
from condconv_keras.tasks.detection import coco_results
from tests.data.detection_folders import coco_image, write_coco

CLASSES = ("bird", "cat", "dog")
CATEGORIES = [{"id": i, "name": name} for i, name in zip((16, 17, 18), CLASSES, strict=True)]
PHOTOGRAPHS = representative.Photographs(trained=False)


def small_detector(size=(96, 96), width_multiplier=0.5):
    """Returns the Keras model, whose answers differ from image to image, and its card.

    A narrower network with random weights loses more to 8 bits than the check allows.
    """
    arguments = {"width_multiplier": width_multiplier, "num_experts": 2, "classes": len(CLASSES)}
    return untrained_model("condconv_ssd300_mobilenet_v1", input_shape=(*size, 3), **arguments)


def check_images(card):
    """Images that the detector is checked on, float32 in 0..255."""
    return np.round(representative.check_images(PHOTOGRAPHS, card.preprocessing))


def raw_files(model, card):
    """Dict of mode to the bytes of the detector's file with raw outputs."""
    calibration = card.preprocessing.evaluation_images(PHOTOGRAPHS.calibration())
    return {mode: tflite_bytes(model, card, mode, calibration, raw_outputs=True) for mode in TFLITE}


def found_in_keras(predict, card, image):
    """What a predictor finds in one uint8 image, without the batch axis."""
    found = predict(card.preprocessing.evaluation_image(image).numpy()[np.newaxis])
    return {name: value[0] for name, value in found.items()}


def write_findable(folder, predict, card, boxes=6, seed=0):
    """Writes a COCO folder: windows of photographs, and near each of the best detections a box to be found."""
    rng = np.random.default_rng(seed)
    for split, mirrored in (("train", False), ("val", True)):
        images, annotations = [], []
        for i, window in enumerate(photographs(), start=1):
            window = np.ascontiguousarray(window[: 150 + 4 * i, ::-1] if mirrored else window)
            path = folder / split / f"{i:06}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(window).save(path)
            height, width = window.shape[:2]
            images.append(coco_image(i, path.name, height=height, width=width))
            found = found_in_keras(predict, card, window)
            # The best of every class: each class has something to find.
            for label in range(len(CLASSES)):
                of_class = {
                    name: value[found["classes"] == label][:boxes] for name, value in found.items() if value.ndim
                }
                of_class["count"] = np.int32(len(of_class["scores"]))
                for entry in coco_results(i, window.shape[:2], of_class, [c["id"] for c in CATEGORIES]):
                    x, y, w, h = np.array(entry["bbox"])
                    if w < 8 or h < 8 or rng.random() < 0.2:
                        continue
                    shift = rng.uniform(-0.1, 0.1, 2) * (w, h)
                    box = [max(x + shift[0], 0), max(y + shift[1], 0), w, h]
                    box[2:] = min(w, width - box[0]), min(h, height - box[1])
                    annotations.append(
                        {"image_id": i, "bbox": [float(v) for v in box], "category_id": entry["category_id"]}
                    )
        write_coco(folder / split / "instances.json", images, annotations, CATEGORIES)
