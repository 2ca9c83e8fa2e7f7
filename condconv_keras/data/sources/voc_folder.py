"""A folder of images with annotations in Pascal VOC's format, an XML file for each image.

Layouts:

- `Annotations/x.xml` with the image `JPEGImages/x.jpg`, of Pascal VOC itself. The lines of `ImageSets/Main/SPLIT.txt`
  name the images of a split, for `SPLIT` in `train`, `validation`, `val` and `test`; without these files all of them
  are `train`.
- `SPLIT/x.xml` with the image beside it.
- `x.xml` with the image beside it: all of them are `train`.

An image has the name of its annotation and one of the endings of `condconv_keras.data.sources.image_files`, whatever
the annotation says. Images without an annotation are no part of the data set.
"""

import dataclasses
import math
import xml.etree.ElementTree

import numpy as np

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.sources.annotated_image import AnnotatedFolder, AnnotatedImage
from condconv_keras.data.sources.clean_boxes import Boxes
from condconv_keras.data.sources.image_files import EXTENSIONS
from condconv_keras.utils.errors import UserError, one_line

SPLITS = (TRAIN_SPLIT, *EVALUATION_SPLITS)


@dataclasses.dataclass(frozen=True)
class VocAnnotation:
    """The content of one XML file.

    Attributes:
        size: `(height, width)` of the image in pixels, None if it is not stated.
        names: list of the class name of each object.
        boxes: float64 `[n, 4]`, (ymin, xmin, ymax, xmax) in pixels.
        difficult: bool `[n]`.
    """

    size: tuple[int, int] | None
    names: list[str]
    boxes: np.ndarray
    difficult: np.ndarray


def read_folder(root):
    """Reads the annotations of a folder.

    The classes are those of the training split, or of all where there is none, sorted; another class of an evaluation
    split is -1. Objects marked as difficult become crowd boxes, as Pascal VOC neither asks to find them nor minds it.
    Coordinates are taken as the edges of a box, as TFDS does, though the first pixel of Pascal VOC is number 1. Image
    ids count from 1 in the order of the files' paths.

    Args:
        root: `pathlib.Path` of the folder.

    Returns:
        An `AnnotatedFolder`; None if it has no XML file in one of these layouts.

    Raises:
        UserError: a file is not in Pascal VOC's format, a split names an annotation that does not exist, or no object
            is annotated.
    """
    files = _find_files(root)
    if not files:
        return None
    annotations = {path: read_annotation(path) for paths in files.values() for path in paths}
    training = files.get(TRAIN_SPLIT, annotations)
    class_names = sorted({name for path in training for name in annotations[path].names})
    if not class_names:
        raise UserError(f"expected objects in the annotations of {str(root)!r}, none of {len(training)} files has one")
    labels = {name: label for label, name in enumerate(class_names)}
    image_ids = {path: image_id for image_id, path in enumerate(sorted(annotations), start=1)}
    splits = {
        split: [_annotated_image(path, annotations[path], image_ids[path], labels) for path in paths]
        for split, paths in files.items()
    }
    return AnnotatedFolder(tuple(class_names), tuple(range(1, len(class_names) + 1)), splits, {})


def read_annotation(path):
    """Reads one XML file.

    A coordinate that is no number is NaN.

    Args:
        path: `pathlib.Path` of the file.

    Returns:
        A `VocAnnotation`.

    Raises:
        UserError: the file is no XML or no annotation, or an object lacks its name or a coordinate.
    """
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except (xml.etree.ElementTree.ParseError, ValueError, LookupError) as error:
        # The last two are of encodings that Python's parser does not read.
        raise UserError(f"expected an XML file in UTF-8, {str(path)!r} is none ({one_line(error)})") from error
    if root.tag != "annotation":
        raise UserError(f"expected <annotation> at the root of {str(path)!r}, received: <{one_line(root.tag, 100)}>")
    objects = root.findall("object")
    boxes = [[_number(path, thing, f"bndbox/{edge}") for edge in ("ymin", "xmin", "ymax", "xmax")] for thing in objects]
    size = (
        tuple(_number(path, root, f"size/{side}") for side in ("height", "width"))
        if root.find("size") is not None
        else None
    )
    return VocAnnotation(
        size=size if size and all(side > 0 for side in size) else None,
        names=[_text(path, thing, "name") for thing in objects],
        boxes=np.array(boxes, np.float64).reshape(len(objects), 4),
        difficult=np.array([thing.findtext("difficult", "0").strip() == "1" for thing in objects], bool),
    )


def _find_files(root):
    """Returns a dict of split name to the sorted list of its XML files."""
    annotations = root / "Annotations"
    lists = {split: root / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
    if annotations.is_dir() and any(path.is_file() for path in lists.values()):
        return {split: _listed(path, annotations) for split, path in lists.items() if path.is_file()}
    splits = {split: _xml_files(root / split) for split in SPLITS}
    if not any(splits.values()):
        splits = {TRAIN_SPLIT: _xml_files(annotations if annotations.is_dir() else root)}
    return {split: paths for split, paths in splits.items() if paths}


def _xml_files(folder):
    return sorted(path for path in folder.glob("*.xml") if not path.name.startswith("."))


def _listed(list_path, annotations):
    try:
        lines = list_path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"expected a text file in UTF-8, {str(list_path)!r} is none") from error
    names = sorted(line.split()[0] for line in lines if line.strip())
    paths = [annotations / f"{name}.xml" for name in dict.fromkeys(names)]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        problem = f"{str(missing[0])!r} and {len(missing) - 1} more are missing" if missing else "it is empty"
        raise UserError(f"expected the names of annotations in {str(list_path)!r}: {problem}")
    return paths


def _number(path, element, name):
    text = _text(path, element, name)
    try:
        return float(text)
    except ValueError:
        return math.nan


def _text(path, element, name):
    text = (element.findtext(name) or "").strip()
    if not text:
        raise UserError(f"expected {name} in {str(path)!r}, in every {element.tag}")
    return text


def _annotated_image(path, annotation, image_id, labels):
    return AnnotatedImage(
        path=_find_image(path),
        source=str(path),
        image_id=image_id,
        size=annotation.size,
        boxes=Boxes(
            boxes=annotation.boxes,
            classes=np.array([labels.get(name, -1) for name in annotation.names], np.int32),
            is_crowd=annotation.difficult,
            area=np.full(len(annotation.names), np.nan),
        ),
    )


def _find_image(annotation_path):
    folder = annotation_path.parent
    if folder.name == "Annotations":
        folder = folder.parent / "JPEGImages"
    candidates = [folder / (annotation_path.stem + ending) for ending in EXTENSIONS]
    candidates += [path.with_suffix(path.suffix.upper()) for path in candidates]
    return str(next((path for path in candidates if path.is_file()), folder / f"{annotation_path.stem}.jpg"))
