"""A folder of images with annotations in Pascal VOC's format, an XML file for each image.

Layouts, in which `SPLIT` is `train`, `validation`, `val`, `test` or another spelling of them as of
`condconv_keras.data.sources.split_folders`:

- `Annotations/x.xml` with the image `JPEGImages/x.jpg` (or `images/x.jpg`), of Pascal VOC itself. The lines of
  `ImageSets/Main/SPLIT.txt` name the images of a split (`trainval.txt` is `train` where there is neither `train.txt`
  nor `val.txt`); without these files all of them are `train`.
- `SPLIT/x.xml` with the image beside it.
- `x.xml` with the image beside it: all of them are `train`.

Folders may lie in these folders, with images in folders of the same names. An image has the name of its annotation and
an ending that the decoder reads; where several have, the one that the annotation's `filename` names is taken, and where
none has, it is looked for by that name (`condconv_keras.data.sources.image_lookup`). Images without an annotation are
no part of the data set.
"""

import collections
import dataclasses
import math
import pathlib
import re
import xml.etree.ElementTree

import numpy as np

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.sources.annotated_image import AnnotatedFolder, AnnotatedImage
from condconv_keras.data.sources.clean_boxes import Boxes
from condconv_keras.data.sources.image_files import is_image, sub_folders, walk
from condconv_keras.data.sources.image_lookup import ImageLookup, comparable
from condconv_keras.data.sources.split_folders import SPLITS, split_folders, split_name
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.text_files import read_text

_VALIDATION = EVALUATION_SPLITS[:2]  # what Pascal VOC's "trainval" has besides training images
_TRUE = ("1", "true")
# Folders of annotations, and those of their images beside them, in small letters.
_ANNOTATIONS = ("annotations", "annotation", "xml", "xmls")
_IMAGES = ("jpegimages", "images")
_PRESENCE = re.compile(r"(.*\S)\s+(-1|0|1)")  # of a class, behind the name in a list


@dataclasses.dataclass(frozen=True)
class VocAnnotation:
    """The content of one XML file.

    Attributes:
        file_name: of the image as the file has it, None if it has none.
        size: `(height, width)` of the image in pixels, None if it is not stated.
        names: list of the class name of each object.
        boxes: float64 `[n, 4]`, (ymin, xmin, ymax, xmax) in pixels.
        difficult: bool `[n]`.
    """

    file_name: str | None
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
    files, lists = _find_files(root)
    if not files:
        return None
    annotations = {path: read_annotation(path) for paths in files.values() for path in paths}
    training = files.get(TRAIN_SPLIT, annotations)
    class_names = sorted({name for path in training for name in annotations[path].names})
    if not class_names:
        raise UserError(f"expected objects in the annotations of {str(root)!r}, none of {len(training)} files has one")
    labels = {name: label for label, name in enumerate(class_names)}
    image_ids = {path: image_id for image_id, path in enumerate(sorted(annotations), start=1)}
    images = _find_images(annotations, root)
    splits = {
        split: [_annotated_image(path, images[path], annotations[path], image_ids[path], labels) for path in paths]
        for split, paths in files.items()
    }
    read = frozenset(map(str, (*annotations, *lists)))
    return AnnotatedFolder(tuple(class_names), tuple(range(1, len(class_names) + 1)), splits, {}, read)


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
    size = tuple(_number(path, root, f"size/{side}", missing="0") for side in ("height", "width"))
    return VocAnnotation(
        file_name=(root.findtext("filename") or "").strip() or None,
        size=size if all(0 < side < math.inf for side in size) else None,
        names=[_text(path, thing, "name") for thing in objects],
        boxes=np.array(boxes, np.float64).reshape(len(objects), 4),
        difficult=np.array([thing.findtext("difficult", "").strip().lower() in _TRUE for thing in objects], bool),
    )


def _find_files(root):
    """Returns a dict of split name to the sorted list of its XML files, and the list of the lists that say so."""
    folders = [root / name for name in sub_folders(root) if name.casefold() == "annotations"]
    lists = _find_lists(root) if folders else {}
    if lists:
        named = {_name_in(folder, path): path for folder in folders for path in _xml_files(folder)}
        known = {comparable(name): path for name, path in named.items()} | named
        return {split: _listed(path, folders[0], known) for split, path in lists.items()}, [*lists.values()]
    splits = {
        split: sorted(path for folder in of_split for path in _xml_files(folder))
        for split, of_split in split_folders(root).items()
    }
    if not any(splits.values()):
        splits = {TRAIN_SPLIT: sorted(path for folder in folders or [root] for path in _xml_files(folder))}
        _check_no_lists_below(root, splits[TRAIN_SPLIT])
    return {split: paths for split, paths in splits.items() if paths}, []


def _check_no_lists_below(root, paths):
    """Raises a `UserError` where annotations are those of a folder with lists of splits, which would be passed over."""
    for inner in sorted({folder.parent for folder in {path.parent for path in paths}} - {root}):
        if _find_lists(inner):
            raise UserError(
                f"expected annotations in {str(root)!r}, those in {str(inner)!r} have lists of their splits: give "
                "that folder as the data set"
            )


def _xml_files(folder):
    """The `pathlib.Path`s of the XML files below a folder."""
    found = walk(folder, collections.Counter())
    return [pathlib.Path(path) for path in found if path.lower().endswith(".xml")]


def _find_lists(root):
    """Returns a dict of split name to the file that names its images; raises a `UserError` for two of a split."""
    found, both = {}, None
    for path in sorted((root / "ImageSets" / "Main").glob("*.txt")):
        if path.stem.casefold() == "trainval":
            both = path
            continue
        split = split_name(path.stem)
        if split in found:
            raise UserError(f"expected one list of {split}, received: {str(found[split])!r} and {str(path)!r}")
        if split is not None:
            found[split] = path
    if both is not None and not found.keys() & {TRAIN_SPLIT, *_VALIDATION}:
        found[TRAIN_SPLIT] = both
    return {split: found[split] for split in SPLITS if split in found}


def _name_in(folder, path):
    """What names an annotation in a list: its path in the folder without ending."""
    return path.relative_to(folder).with_suffix("").as_posix()


def _listed(list_path, folder, known):
    """Returns the sorted XML files that a list names.

    Args:
        list_path: of the list.
        folder: of the annotations.
        known: dict of the name of an annotation, as it is and as of `comparable`, to its path.
    """
    lines = [line.strip() for line in read_text(list_path, "a text file").splitlines()]
    names = sorted({_named(line, known) for line in lines if line})
    paths = {name: known.get(name, known.get(comparable(name))) for name in names}
    missing = [folder / f"{name}.xml" for name, path in paths.items() if path is None]
    if missing or not names:
        problem = f"{str(missing[0])!r} and {len(missing) - 1} more are missing" if missing else "it is empty"
        raise UserError(f"expected the names of annotations in {str(list_path)!r}: {problem}")
    return sorted(set(paths.values()))


def _named(line, known):
    """The name of an annotation that a line of a list has: the presence of a class or an ending may follow it."""
    presence = _PRESENCE.fullmatch(line)
    names = [line] if presence is None else [line, presence[1]]
    names += [name.rpartition(".")[0] for name in names if is_image(name)]
    found = [name for name in names if name in known or comparable(name) in known]
    return found[0] if found else (line if presence is None else presence[1])


def _number(path, element, name, missing=None):
    """The number that an element has, NaN for what is none; where it is not there, that of `missing` if given."""
    text = _text(path, element, name) if missing is None else element.findtext(name) or missing
    try:
        return float(text)
    except ValueError:
        return math.nan


def _text(path, element, name):
    text = (element.findtext(name) or "").strip()
    if not text:
        raise UserError(f"expected {name} in {str(path)!r}, in every {element.tag}")
    return text


def _annotated_image(path, image_path, annotation, image_id, labels):
    return AnnotatedImage(
        path=image_path,
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


def _find_images(annotations, root):
    """Returns a dict of the path of each annotation to that of its image, which need not exist."""
    lookup = ImageLookup()
    folders = {folder: _image_folders(folder, root) for folder in {path.parent for path in annotations}}
    return {
        path: _find_image(path, stated.file_name, folders[path.parent], lookup) for path, stated in annotations.items()
    }


def _image_folders(folder, root):
    """The folders where the images of a folder's annotations may lie, first those where they are expected."""
    found = []
    for place in (folder, *folder.parents):
        if place == root.parent:
            break
        if place.name.casefold() in _ANNOTATIONS:
            beside = [place.parent / n for n in sub_folders(place.parent) if n.casefold() in _IMAGES]
            beside.sort(key=lambda path: _IMAGES.index(path.name.casefold()))
            below = folder.relative_to(place)
            found += [images / below for images in beside or [place.parent / "JPEGImages"]] + beside
    return list(dict.fromkeys([*found, folder, folder / "images"]))


def _find_image(path, stated, folders, lookup):
    """Returns the path of an annotation's image, or of that which was expected; `stated` is the name that it has."""
    owner = str(path)
    *inside, last = re.split(r"[\\/]", stated) if stated else [None]
    # Some tools write "x.jpg.xml" for "x.jpg".
    found = lookup.find(folders, owner, path.stem, last) or lookup.find_named(folders, owner, path.stem)
    if found is None and last:
        inner = [folder.joinpath(*inside[i:]) for i in range(len(inside)) for folder in folders]
        found = lookup.find_named([*inner, *folders], owner, last)
    return found or str(folders[0] / f"{path.stem}.jpg")
