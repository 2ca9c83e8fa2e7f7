"""The recipes of classifiers."""

import dataclasses

from condconv_keras.data.augment.augmentation import AugmentationOptions
from condconv_keras.data.augment.policies import PolicyName
from condconv_keras.tasks.recipe import GENTLE_ROUTERS, RATE, Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """How a classifier is trained: besides what `Recipe` says

    Attributes:
        label_smoothing: in [0, 1).
        class_weights: `"none"`, or `"balanced"`: the loss of an example is multiplied by the weight of its class, so
            that rare classes weigh as much as frequent ones; see `condconv_keras.tasks.classification.loss`.
        dropout_rate: before the classifier, in [0, 1).
        stochastic_depth_rate: probability of dropping the last residual block in training, in [0, 1).
        augmentation, policy, policy_layers, policy_magnitude, random_erasing, mixup_alpha, cutmix_alpha: of the
            training images, as in `condconv_keras.data.AugmentationOptions`.
        freeze_epochs: epochs at the start that train the classifier alone, with everything before it as it is in
            inference; less than `epochs`.

    Raises:
        UserError: an augmentation that is unknown or out of range.
        ValueError: another value out of range.
    """

    label_smoothing: float = 0.0
    class_weights: str = "none"
    dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    policy: PolicyName | None = AugmentationOptions.policy  # type: ignore[assignment]
    policy_layers: int = AugmentationOptions.policy_layers
    policy_magnitude: float = AugmentationOptions.policy_magnitude
    random_erasing: float = AugmentationOptions.random_erasing
    mixup_alpha: float = AugmentationOptions.mixup_alpha
    cutmix_alpha: float = AugmentationOptions.cutmix_alpha
    freeze_epochs: int = 0

    def __post_init__(self):
        super().__post_init__()
        self.check(_CHECKS)
        if self.freeze_epochs >= self.epochs:
            raise ValueError(
                "`freeze_epochs` must be less than `epochs`. "
                f"Received: freeze_epochs={self.freeze_epochs}, epochs={self.epochs}"
            )
        self.augmentation_options  # noqa: B018 (checks the fields that are its own)

    @property
    def mixes_images(self):
        """Whether the images of a batch are mixed with each other."""
        return self.augmentation_options.mixes

    @property
    def augmentation_options(self):
        """The recipe's `AugmentationOptions`."""
        fields = dataclasses.fields(AugmentationOptions)
        return AugmentationOptions(**{field.name: getattr(self, field.name) for field in fields})


CLASS_WEIGHTS = ("none", "balanced")
_CHECKS = (
    (("class_weights",), f"one of {', '.join(CLASS_WEIGHTS)}", lambda value: value in CLASS_WEIGHTS),
    (("label_smoothing", "dropout_rate", "stochastic_depth_rate"), *RATE),
    (("freeze_epochs",), "an integer of at least 0", lambda value: value >= 0),
)


# Chosen on the embedded digits: at 64x64 the network learns several times faster than at 32x32, and SGD than AdamW,
# whose steps of equal size push the routers of a CondConv model to 0 or 1 early. The authors' routers lose experts
# here, and one network in three with them (docs/results/README.md).
_DIGITS = ClassificationRecipe(
    epochs=20,
    batch_size=32,
    optimizer="sgd",
    learning_rate=0.02,
    schedule="cosine",
    warmup_epochs=2,
    weight_decay=1e-4,
    label_smoothing=0.1,
    augmentation="pad_crop",
    crop_fraction=1.0,
    bn_momentum=0.9,
    input_size=64,
    **GENTLE_ROUTERS,
)

_SMALL_GRAY = dataclasses.replace(_DIGITS, batch_size=128, learning_rate=0.1, input_size=32)

# The authors' code (efficientnet/condconv, mnasnet in tensorflow/tpu).
_MNASNET = ClassificationRecipe(
    epochs=350,
    batch_size=1024,
    optimizer="rmsprop",
    learning_rate=0.016 * 1024 / 256,
    schedule="staircase",
    decay_rate=0.97,
    decay_epochs=2.4,
    warmup_epochs=5,
    weight_decay=1e-5,
    label_smoothing=0.1,
    augmentation="inception",
    dropout_rate=0.2,
    ema_decay=0.9999,
)
_EFFICIENTNET = dataclasses.replace(
    _MNASNET, batch_size=2048, learning_rate=0.016 * 2048 / 256, stochastic_depth_rate=0.2
)

RECIPES = {
    # Kornblith, Shlens, Le (arXiv 1805.08974), appendix; the number of epochs is not published, this is our choice.
    "mobilenet": ClassificationRecipe(
        epochs=200,
        batch_size=4096,
        optimizer="sgd",
        learning_rate=1.6,
        schedule="exponential",
        decay_rate=0.975,
        warmup_epochs=10,
        weight_decay=8e-5,
        label_smoothing=0.1,
        augmentation="inception",
    ),
    "efficientnet": _EFFICIENTNET,
    "efficientnet_condconv": dataclasses.replace(_EFFICIENTNET, dropout_rate=0.25),
    "mnasnet": _MNASNET,
    # A data set without a recipe of its own: color photographs at the model's own size, on one small machine.
    "small": dataclasses.replace(_DIGITS, augmentation="inception", crop_fraction=None, input_size=None),
    # Ours: photographs of few classes, from trained weights. The first epochs train the new classifier alone, whose
    # first gradients would otherwise undo what the backbone knows. In a few hundred steps the statistics of a slower
    # batch normalization do not come to follow the weights: on 320 images of ten classes 54 % with momentum 0.99, 74 %
    # with 0.9.
    "finetune": ClassificationRecipe(
        epochs=15,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="cosine",
        warmup_epochs=1,
        weight_decay=1e-4,
        label_smoothing=0.1,
        augmentation="inception",
        dropout_rate=0.2,
        freeze_epochs=2,
        bn_momentum=0.9,
    ),
    # No flip: it turns one digit or shoe into another.
    "digits": _DIGITS,
    "fashion_mnist": _SMALL_GRAY,
    # Those of the experiments (`scripts/glyphs.py`, `scripts/instruments.py`), of the same size.
    "glyphs": _SMALL_GRAY,
    "instruments": _SMALL_GRAY,
}
