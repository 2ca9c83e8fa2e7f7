"""A data set of images with boxes, whatever its source, and the function that opens one by name."""

import dataclasses
import os

from condconv_keras.data.dataset import ImageDataset, check_no_path, check_validation_fraction, is_folder
from condconv_keras.utils.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionDataset(ImageDataset):
    """An `ImageDataset` whose records have the boxes of an image in the place of a class label.

    The label of a record is a dict of tensors of the image's `n` boxes, from 0 to `MAX_BOXES`:

    - `boxes`: float32 `[n, 4]`, (ymin, xmin, ymax, xmax) as fractions of the image's height and width, within [0, 1],
      each of a positive area.
    - `classes`: int32 `[n]`, indices of `class_names`.
    - `is_crowd`: bool `[n]`, whether the box is around a group, or around what is neither to be learnt nor counted.
    - `area`: float32 `[n]`, square pixels of the stored image: the annotation's own, of the object's outline, where it
      has one that is finite and not negative, else the box's.
    - `image_id`: int64 `[]`, another for every image of a split.

    `condconv_keras.data.sources.clean_boxes` says which boxes are left out.

    Attributes:
        category_ids: tuple of ints, the COCO id of each class, for results in COCO's format.
        skipped_boxes: dict of split name to a dict of the reason why boxes were left out to their number. It has no
            reasons for a source that is cleaned as it is read, which TFDS is: nothing is counted there.
    """

    category_ids: tuple[int, ...]
    skipped_boxes: dict[str, dict[str, int]]

    def left_out(self, *splits):
        """Returns how many images and boxes of the splits were left out, as a dict that JSON can hold."""
        return {
            **super().left_out(*splits),
            "skipped_boxes": sum(count for split in splits for count in self.skipped_boxes[split].values()),
        }


def open_detection_dataset(name, data_dir=None, validation_fraction=0.2, skip_bad_images=False, download=True):
    """Opens a data set of images with boxes.

    Args:
        name: `"digit_scenes"` (embedded), a TFDS name (`"coco/2017"`, `"voc/2007"`), or a folder with COCO or Pascal
            VOC annotations (`condconv_keras.data.sources.coco_folder` and `voc_folder` say in which layouts). What is
            prepared in `data_dir` comes before a folder, a folder before TFDS's registry.
        data_dir: the folder of prepared TFDS data sets, TFDS's own default if None.
        validation_fraction: the part of the images that is held out where the source has a training part only.
        skip_bad_images: whether a folder's missing and undecodable images are logged, counted and left out instead of
            refused.
        download: whether TFDS may download and prepare a data set that is not in `data_dir`.

    Returns:
        A `DetectionDataset`.

    Raises:
        UserError: if there is no such data set, or it does not hold images with boxes.
    """
    check_validation_fraction(validation_fraction)
    name = os.fspath(name)
    if name == "digit_scenes":
        from condconv_keras.data.sources.digit_scenes import open_digit_scenes

        return open_digit_scenes()
    if is_folder(name, data_dir):
        from condconv_keras.data.sources.annotated_folder import open_annotated_folder

        return open_annotated_folder(name, validation_fraction, skip_bad_images)
    if name == "digits":
        raise UserError("expected images with boxes, such as 'digit_scenes'; 'digits' has labels, for classifiers")
    check_no_path(name)
    from condconv_keras.data.sources.tfds_detection import open_tfds_detection

    return open_tfds_detection(name, data_dir, validation_fraction, download)
