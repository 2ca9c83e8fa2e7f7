"""The recipes of detectors."""

import dataclasses

from condconv_keras.data.augment.box_augmentation import AUGMENTATIONS
from condconv_keras.tasks.recipe import GENTLE_ROUTERS, Recipe
from condconv_keras.utils.errors import unknown_name

# Version 0.1 stored with every recipe what only classifiers have: of a detector, these values, which change nothing.
_STORED_BY_0_1 = {
    **dict.fromkeys(("label_smoothing", "dropout_rate", "stochastic_depth_rate", "random_erasing"), 0),
    **dict.fromkeys(("mixup_alpha", "cutmix_alpha", "freeze_epochs"), 0),
    **{"policy": None, "policy_layers": 2, "policy_magnitude": 10},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionRecipe(Recipe):
    """How a detector is trained, as `Recipe` says.

    Attributes:
        augmentation: of the training images and their boxes, as in `condconv_keras.data.augment.box_augmentation`.
        crop_fraction: 1 or None: a crop of the evaluation's images would cut boxes.

    Raises:
        UserError: an unknown augmentation.
        ValueError: a value out of range.
    """

    def __post_init__(self):
        super().__post_init__()
        if self.augmentation not in AUGMENTATIONS:
            raise unknown_name("augmentation", self.augmentation, AUGMENTATIONS)
        self.check(_CHECKS)

    @classmethod
    def from_dict(cls, fields):
        unused = dict(_STORED_BY_0_1.items() & dict(fields).items())
        return super().from_dict({name: value for name, value in fields.items() if name not in unused})


_CHECKS = ((("crop_fraction",), "1 or None, as a crop would cut boxes", lambda value: value in (None, 1)),)


# CondConv paper, section 4.2: 20,000 steps of 1,024 images, the rate from 0.3 to 0.9 over the first 1,000, then a
# cosine to 0. Given as epochs of COCO 2014's 82,783 training images, 80 steps each.
_SSD = DetectionRecipe(
    epochs=250,
    batch_size=1024,
    optimizer="sgd",
    learning_rate=0.9,
    schedule="cosine",
    warmup_epochs=12.5,
    weight_decay=4e-5,
    augmentation="ssd",
    nesterov=False,
    warmup_start=1 / 3,
)

_SSD_SMALL = dataclasses.replace(
    _SSD, epochs=30, batch_size=32, learning_rate=0.05, warmup_epochs=1, warmup_start=0.0, bn_momentum=0.9
)

# Ours, tuned on the validation scenes. From random weights and in few steps AdamW learns what SGD has not begun to. No
# augmentation: the scenes are many, and with random crops they are learned far more slowly.
_DIGIT_SCENES = dataclasses.replace(
    _SSD_SMALL,
    epochs=8,
    batch_size=16,
    optimizer="adamw",
    learning_rate=0.015,
    warmup_epochs=0.5,
    augmentation="none",
    input_size=160,
    **GENTLE_ROUTERS,
)

RECIPES = {
    "ssd": _SSD,
    # Ours: a data set of boxes without a recipe of its own, on one small machine.
    "ssd_small": _SSD_SMALL,
    "digit_scenes": _DIGIT_SCENES,
    # Those of `scripts/scenes.py`, which are stored in that size.
    "scenes": _DIGIT_SCENES,
}
