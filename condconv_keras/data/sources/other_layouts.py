"""Folders that are laid out for another program or task, told from the names of their files."""

import collections
import os

from condconv_keras.data.sources.image_files import sub_folders, walk
from condconv_keras.data.sources.split_folders import split_folders

_SETTINGS = ("data.yaml", "data.yml", "dataset.yaml")
# What lies beside the images of detection data, in small letters.
_OF_DETECTION = {"_annotations.coco.json", "annotations", "instances.json"}


def yolo_clause(root):
    """Returns what to say of a folder that is laid out for YOLO, as the end of a message; else the empty text.

    That is `images/` beside `labels/*.txt`, as of Ultralytics, in the folder or in one of its splits.

    Args:
        root: `pathlib.Path` of the folder.
    """
    with_images = [place for place in _places(root) if "images" in sub_folders(place)]
    if any(map(_has_texts, with_images)) or (with_images and any((root / name).is_file() for name in _SETTINGS)):
        return "; it is laid out for YOLO, which is not read: convert it to COCO annotations for a detector"
    return ""


def detection_clause(root):
    """Returns what to say of a folder of images that have boxes, where labels were expected; else the empty text."""
    for place in _places(root):
        names = {name.casefold() for name in os.listdir(place)}
        if names & _OF_DETECTION or any(name.endswith(".xml") for name in names):
            return "; it has annotations of boxes, which are for detectors"
    return yolo_clause(root)


def _places(root):
    return [root, *(folder for folders in split_folders(root).values() for folder in folders)]


def _has_texts(place):
    """Whether a folder has text files in its folder `labels`."""
    folder = place / "labels"
    return folder.is_dir() and any(path.lower().endswith(".txt") for path in walk(folder, collections.Counter()))
