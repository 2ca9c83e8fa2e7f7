"""What a reader of annotation files returns."""

import dataclasses

from condconv_keras.data.sources.clean_boxes import Boxes


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """One image of a folder.

    Attributes:
        path: of the image, which need not exist.
        source: path of the annotation file, for messages.
        image_id: int, another for every image of a split.
        size: `(height, width)` in pixels as the annotation states it, None where it does not.
        boxes: `Boxes` in pixels, not cleaned.
    """

    path: str
    source: str
    image_id: int
    size: tuple[int, int] | None
    boxes: Boxes


@dataclasses.dataclass(frozen=True)
class AnnotatedFolder:
    """A folder of annotated images.

    Attributes:
        class_names: tuple of strings.
        category_ids: tuple of ints, the COCO id of each class.
        splits: dict of split name to its list of `AnnotatedImage`; with `train` alone nothing is held out yet.
        skipped_boxes: dict of split name to a dict of reason to the number of boxes that belong to no image.
        read: the paths, strings, of the files that all this was read from.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    splits: dict[str, list[AnnotatedImage]]
    skipped_boxes: dict[str, dict[str, int]]
    read: frozenset[str]
