"""A folder of images with annotation files of boxes: what the COCO and the Pascal VOC layout share."""

import collections
import dataclasses
import functools
import itertools
import os
import pathlib

import numpy as np
from absl import logging

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT, slice_records
from condconv_keras.data.detection_dataset import DetectionDataset
from condconv_keras.data.formats.exif import UPRIGHT
from condconv_keras.data.input.orientation import turned_boxes
from condconv_keras.data.sources import coco_folder, voc_folder
from condconv_keras.data.sources.clean_boxes import Boxes, clean_boxes
from condconv_keras.data.sources.folder import FolderSource, hold_out
from condconv_keras.data.sources.image_checks import CHANNELS, check_images, common_size
from condconv_keras.data.sources.image_files import counted, ending, is_image, sub_folders, walk, warn_of_ignored
from condconv_keras.data.sources.image_lookup import similar_files
from condconv_keras.data.sources.other_layouts import yolo_clause
from condconv_keras.data.sources.same_bytes import count_repeated
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import tensorflow as tf


class DetectionFolder(FolderSource, DetectionDataset):
    """A folder with COCO or Pascal VOC annotations. Opening it decodes every image once to find bad ones.

    `condconv_keras.data.sources.coco_folder` and `voc_folder` describe the layouts. Where there is no split to evaluate
    on, a part of `train` is held out as `validation` (`condconv_keras.data.split_rule`). Images are RGB; those without
    boxes are kept. Bad images are those that are missing, undecodable or not of the size that their annotation states.
    Images without an annotation and other files are counted in a warning.

    Where an image is turned as its EXIF orientation says, its boxes are those of the stored or of the turned image,
    whichever has the size that the annotation states, and are turned with it in the first case. An image with boxes
    where that does not tell the two apart is bad, too.

    Raises:
        UserError: if there are no annotations, one cannot be read, an image is bad, or nothing can be learned: no box
            is left but those of crowds and difficult objects.
    """

    def __init__(self, request):
        root = pathlib.Path(os.path.expanduser(request.name))
        folder = _read_annotations(root)
        splits, moved = folder.splits, ()
        is_held_out = not any(split in splits for split in EVALUATION_SPLITS)
        if is_held_out:
            splits, moved = _hold_out(splits, root, request)
        _check_boxes(root, {split: [image.boxes for image in images] for split, images in splits.items()}, {})
        _check_pixels([image for images in splits.values() for image in images])
        good, checked, self.decoding = _check_images(root, splits, request)
        sizes = {path: image.size for path, image in checked.items()}
        skipped_boxes = {split: collections.Counter(folder.skipped_boxes.get(split)) for split in splits}
        self._labels = {split: _Labels.of(images, checked, skipped_boxes[split]) for split, images in good.items()}
        _check_boxes(root, {split: [labels.flat] for split, labels in self._labels.items()}, skipped_boxes)
        _warn_of_skipped(root, skipped_boxes)
        _warn_of_nothing_to_find(root, self._labels)
        warn_of_ignored(root, _unused(root, {*folder.read, *(i.path for images in splits.values() for i in images)}))
        super().__init__(
            name=request.name,
            class_names=folder.class_names,
            category_ids=folder.category_ids,
            image_shape=(*common_size([sizes[image.path] for images in good.values() for image in images]), CHANNELS),
            splits={split: len(images) for split, images in good.items()},
            held_out=is_held_out,
            split_rule=request.split_rule.name if is_held_out else None,
            moved=moved,
            repeated=count_repeated({split: _paths_and_contents(good[split], checked) for split in splits}),
            skipped={split: len(images) - len(good[split]) for split, images in splits.items()},
            skipped_boxes={split: dict(counts) for split, counts in skipped_boxes.items()},
            decoded_sizes={
                split: sum(int(np.prod(sizes[image.path])) * CHANNELS for image in images)
                for split, images in good.items()
            },
        )
        self.warn_of_alike_classes()

    def paths(self, split):
        return self._labels[split].paths

    def read_records(self, split, shuffle_seed):
        return self._labels[split].records(shuffle_seed)


def _read_annotations(root):
    """Returns the `AnnotatedFolder` of a folder; raises a `UserError` if it has no annotations."""
    folder = coco_folder.read_folder(root) or voc_folder.read_folder(root)
    if folder is None:
        inner = next((root / name for name in sub_folders(root) if coco_folder.has_annotations(root / name)), None)
        if inner is not None:
            raise UserError(
                f"expected annotations in {str(root)!r}, found some in {str(inner)!r}: give that folder as the data set"
            )
        raise UserError(
            f"expected COCO annotations (annotations/instances_train.json, {' or '.join(coco_folder.FILE_NAMES)} in "
            f"train or in the folder itself) or Pascal VOC annotations (Annotations/*.xml, train/*.xml or *.xml) in "
            f"{str(root)!r}, found neither{yolo_clause(root)}"
        )
    return folder


def _hold_out(splits, root, request):
    """Returns the splits with a part of `train` as `validation`, and the names of the images that were moved."""
    images = splits[TRAIN_SPLIT]
    if len(images) < 2:
        raise UserError(f"{str(root)!r} has a single image: two are needed for a training and a validation part")
    # All images are one class here: most have boxes of several.
    parts, moved = hold_out([image.path for image in images], [0] * len(images), root, request)
    return splits | {split: [*itertools.compress(images, are_chosen)] for split, are_chosen in parts.items()}, moved


def _check_images(root, splits, request):
    """Returns, per split, the list of good images, a dict of path to the `CheckedImage` of every good image, and the
    `decoding` of all."""
    images = [image for split in splits.values() for image in split]
    missing = {image.path for image in images if not os.path.isfile(image.path)}
    if missing and not request.skip_bad_images:
        first = next(image for image in images if image.path in missing)
        beside = [name for name in similar_files(first.path) if name != os.path.basename(first.source)]
        raise UserError(
            f"{first.source!r} names the image {first.path!r}, which is missing"
            f"{f' (there is {beside[0]!r}, which is not read)' if beside else ''}; missing images: {len(missing)} of "
            f"{len(images)}. Leave them out with `skip_bad_images=True`"
        )
    for path in sorted(missing):
        logging.warning("Skipping %r: it is missing", path)
    paths = list({image.path: None for image in images if image.path not in missing})
    images_checked = check_images(root, paths, request.skip_bad_images, request.apply_orientation)
    checked = images_checked.by_path(paths)
    good = {split: _fitting(of_split, checked, request.skip_bad_images) for split, of_split in splits.items()}
    for split, of_split in good.items():
        if not of_split:
            raise UserError(f"no readable image is left in {split} of {images[0].source!r}")
    return good, checked, images_checked.decoding


def _paths_and_contents(images, checked):
    """The paths of images, and what their files contain as `CheckedImage` has it, two lists."""
    paths = [image.path for image in images]
    return paths, [checked[path].content for path in paths]


def _fitting(images, checked, skip_bad_images):
    """Returns the decoded images whose annotations fit them; the first other one is refused unless it is skipped."""
    fitting = []
    for image in (image for image in images if image.path in checked):
        problem = _size_problem(image, checked[image.path]) or _orientation_problem(image, checked[image.path])
        if problem is None:
            fitting.append(image)
        elif skip_bad_images:
            logging.warning("Skipping %s: %s", image.path, problem)
        else:
            raise UserError(f"{problem}. Leave such images out with `skip_bad_images=True`")
    return fitting


def _size_problem(image, checked):
    """What is wrong where the annotation is of an image of another size: its boxes are of another image."""
    if image.size is None or tuple(image.size) in (checked.size, checked.stored_size):
        return None
    stated, received = (f"{width:g}x{height:g}" for height, width in (image.size, checked.size))
    return f"{image.source!r} is for an image of {stated} pixels, {image.path!r} has {received}"


def _orientation_problem(image, checked):
    """What is wrong where boxes may be those of the stored or of the turned image."""
    is_decided = image.size is not None and checked.size != checked.stored_size
    if checked.orientation == UPRIGHT or is_decided or not len(image.boxes.classes):
        return None
    return (
        f"{image.path!r} is turned as its EXIF orientation {checked.orientation} says, and the size in "
        f"{image.source!r} does not show whether its boxes are for the turned image. If they are for the image as it "
        "is stored, use all images so with `apply_orientation=False`"
    )


def _boxes(image, checked):
    """The boxes of the image as it is delivered, in pixels."""
    if checked.size == checked.stored_size or image.size is None or tuple(image.size) == checked.size:
        return image.boxes
    fractions = image.boxes.boxes / np.tile(checked.stored_size, 2)
    turned = turned_boxes(fractions, checked.orientation).numpy() * np.tile(checked.size, 2)
    return dataclasses.replace(image.boxes, boxes=turned)


def _check_boxes(root, boxes, skipped_boxes):
    """Raises a `UserError` if there is no box to learn from, or to find where there is no training split.

    Args:
        root: path of the folder.
        boxes: dict of split name to a list of `Boxes`.
        skipped_boxes: dict of split name to a dict of the reason why boxes were left out to their number.
    """
    asked = [TRAIN_SPLIT] if TRAIN_SPLIT in boxes else list(boxes)
    kept = [of_image for split in asked for of_image in boxes[split]]
    if all(of_image.is_crowd.all() for of_image in kept):
        received = collections.Counter({"of crowds or difficult objects": sum(len(each.classes) for each in kept)})
        for split in asked:
            received.update(skipped_boxes.get(split, {}))
        raise UserError(
            f"expected boxes in the annotations of {str(root)!r}, no image of {' or '.join(asked)} has one that can be "
            f"used; received: {counted(+received) or 'none'}"
        )


def _check_pixels(images):
    """Raises a `UserError` for boxes that are parts of the images' sides: taken for pixels, all would be tiny."""
    coordinates = np.concatenate([image.boxes.boxes.ravel() for image in images])
    coordinates = coordinates[np.isfinite(coordinates)]
    if ((coordinates >= 0) & (coordinates <= 1)).all() and (coordinates % 1 > 0).any():
        raise UserError(
            f"expected boxes in pixels in {images[0].source!r}, all coordinates lie in 0..1: multiply them by the "
            "width and height of the images"
        )


def _warn_of_skipped(root, skipped_boxes):
    for split, counts in skipped_boxes.items():
        if counts:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
            logging.warning("Boxes left out of %s of %s: %s", split, root, reasons)


def _warn_of_nothing_to_find(root, labels):
    for split, of_split in labels.items():
        if of_split.flat.is_crowd.all():
            logging.warning("No box of %s of %s is to be found: there is no AP to measure", split, root)


def _unused(root, used):
    """Returns a `Counter` of the files below a folder that are no part of its data set.

    Args:
        root: path of the folder.
        used: set of the paths of those that are.
    """
    real_folder = functools.cache(os.path.realpath)

    def place(path):  # is one for a file that links to folders lead to in two ways
        return os.path.join(real_folder(os.path.dirname(path)), os.path.basename(path))

    ignored = collections.Counter()
    used = {place(path) for path in used if os.path.isfile(path)}
    for path in walk(root, ignored):
        if place(path) not in used:
            ignored[ending(path) + (" without an annotation" if is_image(path) else "")] += 1
    return ignored


@dataclasses.dataclass(frozen=True)
class _Labels:
    """The labels of a split in flat arrays: those of an image are `boxes[begin:end]`."""

    paths: list
    image_ids: np.ndarray
    row_splits: np.ndarray
    flat: Boxes

    @classmethod
    def of(cls, images, checked, skipped_boxes):
        """Cleans the boxes of a split's images and adds the numbers of those left out to a `Counter`."""
        cleaned = []
        for image in images:
            boxes, reasons = clean_boxes(_boxes(image, checked[image.path]), checked[image.path].size)
            skipped_boxes.update(reasons)
            cleaned.append(boxes)
        fields = [field.name for field in dataclasses.fields(Boxes)]
        return cls(
            [image.path for image in images],
            np.array([image.image_id for image in images], np.int64),
            np.cumsum([0, *(len(boxes.classes) for boxes in cleaned)]),
            Boxes(*(np.concatenate([getattr(boxes, field) for boxes in cleaned]) for field in fields)),
        )

    def records(self, shuffle_seed):
        """Returns a `tf.data.Dataset` of `(path, label)`."""
        flat = dataclasses.asdict(self.flat)

        def label(record, image_id):
            path, begin, end = record
            return path, {field: flat[field][begin:end] for field in flat} | {"image_id": image_id}

        flat = {field: tf.constant(values) for field, values in flat.items()}
        paths = list(map(os.fsencode, self.paths))
        records = slice_records((paths, self.row_splits[:-1], self.row_splits[1:]), self.image_ids, shuffle_seed)
        return records.map(label)
