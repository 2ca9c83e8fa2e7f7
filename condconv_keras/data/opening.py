"""The table of sources, and the functions that open a data set by name."""

from __future__ import annotations

import os
from typing import Any, TypeVar, cast, overload

from condconv_keras.data.dataset import VALIDATION_FRACTION, Dataset, ImageDataset, Request
from condconv_keras.data.detection_dataset import DetectionDataset
from condconv_keras.data.sources.annotated_folder import DetectionFolder
from condconv_keras.data.sources.digit_scenes import DigitScenes
from condconv_keras.data.sources.digits import Digits
from condconv_keras.data.sources.image_folder import ImageFolder
from condconv_keras.data.sources.tfds_detection import TfdsDetection
from condconv_keras.data.sources.tfds_images import TfdsImages
from condconv_keras.data.split_rule import NEW, SplitRule
from condconv_keras.utils.errors import UserError, warn

# A name means the last row that claims it, of the embedded ones first: what is general stands before what is special.
# The first embedded row of a kind of labels is what a run that names no data set reads.
SOURCES = [TfdsImages, TfdsDetection, ImageFolder, DetectionFolder, Digits, DigitScenes]


_Kind = TypeVar("_Kind", bound=Dataset)


def register_source(source: type[_Kind]) -> type[_Kind]:
    """Adds a source at the end of the table and returns it, so that it can decorate a class.

    Args:
        source: subclass of `ImageDataset` or `DetectionDataset`; `condconv_keras.data.dataset.Dataset` says how one is
            written.

    Raises:
        ValueError: it is none, or another source has its embedded name.
    """
    if not (isinstance(source, type) and issubclass(source, Dataset) and hasattr(source, "content")):
        raise ValueError(f"`source` is a subclass of ImageDataset or DetectionDataset. Received: {source!r}")
    if source.embedded_name is not None and source.embedded_name in {other.embedded_name for other in SOURCES}:
        raise ValueError(f"`embedded_name` is one that no other source has. Received: {source.embedded_name!r}")
    SOURCES.append(source)
    return source


def embedded_names(kind: type[Any]) -> tuple[str, ...]:
    """Returns the tuple of the names of a kind's embedded data sets, the default one first; as in `find_source`."""
    sources = [source for source in SOURCES if issubclass(source, kind)]
    return tuple(source.embedded_name for source in sources if source.embedded_name is not None)


def find_source(name: str, data_dir: str | os.PathLike[str] | None = None, kind: type[Any] = Dataset) -> type[Dataset]:
    """Returns the source, a class, that a data set's name means.

    Args:
        name, data_dir: as in `open_dataset`.
        kind: `ImageDataset` or `DetectionDataset`, or `Dataset` for the source that claims the name first.

    Raises:
        UserError: the name is that of an embedded data set of another kind.
    """
    claimants = [source for source in reversed(SOURCES) if source.claims(name, data_dir)]
    claimants = [source for source in claimants if source.embedded_name is not None] or claimants
    fitting = [source for source in claimants if issubclass(source, kind)]
    if not fitting:
        default = embedded_names(kind)[0]
        raise UserError(f"expected images with {kind.content}, such as {default!r}; {name!r} {claimants[0].purpose}")
    return fitting[0]


def is_folder(name: str, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Whether a data set's name means a folder: not an embedded set, nor one prepared in `data_dir`."""
    return find_source(name, data_dir).is_folder


@overload
def open_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = ...,
    validation_fraction: float = ...,
    skip_bad_images: bool = ...,
    download: bool = ...,
    *,
    split_rule: SplitRule = ...,
    apply_orientation: bool = ...,
    check_images: bool = ...,
) -> ImageDataset: ...
@overload
def open_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = ...,
    validation_fraction: float = ...,
    skip_bad_images: bool = ...,
    download: bool = ...,
    *,
    kind: type[Any],
    split_rule: SplitRule = ...,
    apply_orientation: bool = ...,
    check_images: bool = ...,
) -> Dataset: ...
def open_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    skip_bad_images: bool = False,
    download: bool = True,
    kind: type[Any] = ImageDataset,
    split_rule: SplitRule = NEW,
    apply_orientation: bool = True,
    check_images: bool = True,
) -> Dataset:
    """Opens a data set.

    Args:
        name: `"digits"` (embedded), a TFDS name (`"fashion_mnist"`, `"name:1.0.0"`, `"name/config"`), or a folder of
            images by class; other kinds are as in `open_detection_dataset`. A data set that is prepared in
            `data_dir` comes before a folder, a folder before TFDS's registry.
        data_dir: the folder of prepared TFDS data sets, TFDS's own default if None.
        validation_fraction: the part of the examples that is held out where the source has a training part only: in a
            folder the images whose path has a hash below it, in TFDS the last examples of the training part.
        skip_bad_images: whether a folder's missing and undecodable images are logged, counted and left out instead of
            refused.
        download: whether TFDS may download and prepare a data set that is not in `data_dir`.
        kind: class of the data set, `ImageDataset` or `DetectionDataset`.
        split_rule: `condconv_keras.data.split_rule.SplitRule` of what is held out of a folder: the one of today, or
            that of a run, by which nothing that it was trained on is held out.
        apply_orientation: whether image files are turned as their EXIF orientation says; a model's card says which way
            it was trained (`card.preprocessing.apply_orientation`).
        check_images: whether the images of a folder of classes are decoded to find bad ones, which is done once for
            every file: what was found is remembered. Otherwise they are trusted, and a bad one is an error when it is
            read.

    Returns:
        A data set of the kind.

    Raises:
        UserError: if there is no such data set, or its images do not have labels of the kind; `Request` and the source
            say what else.
    """
    names = embedded_names(kind)
    request = Request(
        os.fspath(name),
        data_dir,
        validation_fraction,
        skip_bad_images,
        download,
        names,
        split_rule=split_rule,
        apply_orientation=apply_orientation,
        check_images=check_images,
    )
    source = find_source(request.name, data_dir, kind)
    if source.embedded_name is not None and os.path.isdir(request.name):
        warn(f"{name!r} is the embedded data set; the folder of this name is {f'./{name}'!r}")
    return source(request)  # type: ignore[call-arg, arg-type]  # a source is called with a request


def open_detection_dataset(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    skip_bad_images: bool = False,
    download: bool = True,
    apply_orientation: bool = True,
) -> DetectionDataset:
    """Opens a data set of images with boxes.

    Args:
        name: `"digit_scenes"` (embedded), a TFDS name (`"coco/2017"`, `"voc/2007"`), or a folder with COCO or Pascal
            VOC annotations (`condconv_keras.data.sources.coco_folder` and `voc_folder` say in which layouts).
        data_dir: as in `open_dataset`.
        validation_fraction: the part of the examples that is held out where the source has a training part only.
        skip_bad_images: whether bad images of a folder are logged, counted and left out instead of refused.
        download: whether TFDS may download and prepare a data set that is not in `data_dir`.
        apply_orientation: whether image files are turned as their EXIF orientation says. The boxes of a folder are
            those of the image, stored or turned, that has the size which its annotation states.

    Returns:
        A `DetectionDataset`.

    Raises:
        UserError: as `open_dataset`.
    """
    opened = open_dataset(
        name,
        data_dir,
        validation_fraction,
        skip_bad_images,
        download,
        kind=DetectionDataset,
        apply_orientation=apply_orientation,
    )
    return cast(DetectionDataset, opened)
