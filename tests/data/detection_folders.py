"""Small folders of images with boxes, and what a detection data set reads from them."""

import json

import numpy as np
from PIL import Image

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
COLORS = [{"id": 2, "name": "red"}, {"id": 9, "name": "blue"}]


def save_image(path, height=20, width=40, seed=0):
    """Writes random RGB pixels as a PNG and returns them."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")
    return pixels


def coco_image(image_id, file_name=None, **fields):
    return {"id": image_id, "file_name": file_name or f"{image_id}.png", "height": 20, "width": 40, **fields}


def coco_box(image_id, bbox, category_id=3, **fields):
    return {"image_id": image_id, "bbox": bbox, "category_id": category_id, **fields}


def write_coco(path, images, annotations, categories=CATEGORIES):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def write_squares(folder, **splits):
    """Writes splits of so many images, each a red or a blue square on noise, as `SPLIT/instances.json` beside them."""
    for seed, (split, count) in enumerate(splits.items()):
        rng = np.random.default_rng(seed)
        images, annotations = [], []
        (folder / split).mkdir()
        for i in range(1, count + 1):
            height, width = rng.integers(90, 130, 2)
            pixels = rng.integers(90, 160, (height, width, 3)).astype(np.uint8)
            side = int(rng.integers(35, 60))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            color = int(rng.integers(2))
            pixels[y : y + side, x : x + side] = ((230, 20, 20), (20, 20, 230))[color]
            Image.fromarray(pixels).save(folder / split / f"{i:06}.png")
            images.append(coco_image(i, f"{i:06}.png", height=int(height), width=int(width)))
            annotations.append(coco_box(i, [x, y, side, side], COLORS[color]["id"]))
        write_coco(folder / split / "instances.json", images, annotations, COLORS)


def write_voc(path, objects, size=(20, 40)):
    """Writes Pascal VOC XML of `(name, xmin, ymin, xmax, ymax, difficult)` and an image size (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
        for name, xmin, ymin, xmax, ymax, difficult in objects
    ]
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>" if size else ""
    path.write_text(f"<annotation><filename>wrong.tif</filename>{stated}{''.join(parts)}</annotation>")


def labels_by_id(dataset, split):
    """Returns a dict of image id to `(image, label)` as NumPy arrays."""
    return {int(label["image_id"]): (image, label) for image, label in dataset.examples(split).as_numpy_iterator()}
