"""What other readers make of a user's annotations: json and ElementTree, by what docs/data.md says."""

import collections
import json
from xml.etree import ElementTree

import numpy as np

from tests.fuzz.readers import Lossy, folders_in, images_below, orientation_of, pixels_of, sides, split_of, turned

_COCO = "instances.json"


def coco_folder(folder):
    """As of `tests.fuzz.subjects.read_boxes`, for a folder of COCO annotations."""
    images = {}
    names = {name: split_of(name) for name in folders_in(folder)}
    for name, split in names.items():
        if split is not None and (folder / name / _COCO).is_file():
            images |= {path: (split, boxes, size) for path, boxes, size in _coco_file(folder / name / _COCO)}
    return _boxes_of(folder, images)


def _coco_file(path):
    content = json.loads(path.read_bytes())
    counts = collections.Counter(category["name"] for category in content["categories"])
    names = {c["id"]: c["name"] + (f" ({c['id']})" if counts[c["name"]] > 1 else "") for c in content["categories"]}
    for image in content["images"]:
        boxes = []
        for annotation in content["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, width, height = map(_number, annotation["bbox"])
                boxes.append((names.get(annotation["category_id"]), y, x, y + height, x + width))
        yield _image_of(path.parent, image["file_name"]), boxes, _size(image.get("height"), image.get("width"))


def voc_folder(folder):
    """As of `tests.fuzz.subjects.read_boxes`, for a folder of Pascal VOC annotations."""
    images = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() == ".xml" and path.name[0] != "."):
        root = ElementTree.parse(path).getroot()
        boxes = []
        for thing in root.findall("object"):
            edges = [_number(thing.findtext(f"bndbox/{edge}")) for edge in ("ymin", "xmin", "ymax", "xmax")]
            boxes.append((thing.findtext("name").strip(), *edges))
        size = _size(root.findtext("size/height"), root.findtext("size/width"))
        images[_image_of(folder, path.stem)] = "train", boxes, size
    return _boxes_of(folder, images)


def _boxes_of(root, images):
    """A dict of an image's path below the folder to its split, pixels and boxes.

    Args:
        root: of the folder.
        images: dict of path to the split, the boxes (name, edges) in pixels, and the stated size.
    """
    is_split = any(split != "train" for split, _, _ in images.values())
    split_of_path = {} if is_split else sides(root, list(images), [0] * len(images))
    found = {}
    for path, (split, boxes, size) in images.items():
        pixels = pixels_of(path)
        shape = (pixels.pixels if isinstance(pixels, Lossy) else pixels).shape[:2]
        orientation, stored = orientation_of(path), shape
        if orientation >= 5:
            stored = shape[::-1]
        if orientation >= 5 and size == stored != shape:
            boxes = [(name, *turned(edges, orientation, stored)) for name, *edges in boxes if np.isfinite(edges).all()]
        name = str(path.relative_to(root))
        found[name] = split_of_path.get(path, split), pixels, _usable(boxes, shape)
    return found


def _usable(boxes, shape):
    """The boxes that are of a known class and have something inside the image, sorted, clipped to it."""
    height, width = shape
    kept = []
    for name, *edges in boxes:
        ymin, xmin, ymax, xmax = edges
        if name is None or not np.isfinite(edges).all() or ymax <= ymin or xmax <= xmin:
            continue
        clipped = np.clip(edges, 0, (height, width, height, width))
        if clipped[2] > clipped[0] and clipped[3] > clipped[1]:
            kept.append((name, *np.round(clipped, 2).tolist()))
    kept.sort()
    return [name for name, *_ in kept], np.array([edges for _, *edges in kept], float).reshape(-1, 4)


def _image_of(folder, name):
    """The image that an annotation means: the file of its name, or else that which differs in the ending alone."""
    path = folder / name
    if path.is_file():
        return path
    beside = [other for other in images_below(folder) if other.parent == folder]
    return next(other for other in beside if other.stem.casefold() in (path.stem.casefold(), path.name.casefold()))


def _number(value):
    try:
        return float("nan" if value is None else value)
    except ValueError:
        return float("nan")


def _size(height, width):
    """The (height, width) that is stated, None where it is not."""
    size = _number(height), _number(width)
    return size if all(0 < side < np.inf for side in size) else None
