"""A training recipe as data: what a run does unless a flag says otherwise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, get_args

Optimizer: TypeAlias = Literal["sgd", "rmsprop", "adamw"]
Schedule: TypeAlias = Literal["cosine", "exponential", "staircase"]
OPTIMIZERS = get_args(Optimizer)
SCHEDULES = get_args(Schedule)
# What is expected of a value, and whether it is so.
_Expected: TypeAlias = tuple[str, Callable[[Any], bool]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained, whatever its task; each task has a subclass.

    Attributes:
        epochs: positive integer.
        batch_size: positive integer, the batch of all devices together.
        optimizer: `"sgd"`, `"rmsprop"` (rho 0.9, epsilon 1e-3) or `"adamw"`.
        momentum: momentum of SGD and RMSProp, in [0, 1).
        nesterov: whether the momentum of SGD is Nesterov's.
        learning_rate: at least 0, the peak learning rate at `batch_size`; another batch size scales it in proportion.
        schedule: after the warm-up, `"cosine"` to zero at the last step, `"exponential"` or `"staircase"`, times
            `decay_rate` every `decay_epochs` epochs: continuously from the warm-up on, or in steps from the start.
        decay_rate: positive, of the exponential schedules.
        decay_epochs: positive, the epochs after which `decay_rate` has been applied once.
        warmup_epochs: epochs of linear warm-up, at least 0; may be a fraction.
        warmup_start: where the warm-up starts, as a part of the peak, in [0, 1).
        weight_decay: factor of half the sum of squares of all variables but batch normalization's, added to the loss;
            for AdamW its decoupled weight decay of the same variables.
        augmentation: name of what happens to the training images, one of the task's.
        ema_decay: decay of the moving average of weights and batch normalization statistics that is evaluated and
            exported in place of the last weights, in [0, 1); 0 for none. See `condconv_keras.training.averaging`.
        clip_norm: positive, the largest global norm of the gradients, which longer ones are scaled to, or None.
        synchronized_bn: whether the replicas of a distributed run share their batch normalization statistics.
        crop_fraction: fraction of the evaluation's center crop, in (0, 1], or None for the model's own.
        bn_momentum: momentum of batch normalization, in [0, 1), or None for the model's own.
        input_size: height and width in pixels, at least 32, or None for the model's own.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float
    schedule: Schedule
    warmup_epochs: float
    weight_decay: float
    augmentation: str
    momentum: float = 0.9
    nesterov: bool = True
    warmup_start: float = 0.0
    decay_rate: float = 1.0
    decay_epochs: float = 1.0
    ema_decay: float = 0.0
    clip_norm: float | None = None
    synchronized_bn: bool = True
    crop_fraction: float | None = None
    bn_momentum: float | None = None
    input_size: int | None = None

    # Without annotations: no fields. What only the recipes of some tasks decide, and what holds for the others.
    stochastic_depth_rate = 0.0
    policy = None
    mixes_images = False
    freeze_epochs = 0

    def __post_init__(self) -> None:
        self.check(_CHECKS)

    def check(self, checks: Iterable[tuple[Sequence[str], str, Callable[[Any], bool]]]) -> None:
        """Raises a ValueError for the first field that is not as expected.

        Args:
            checks: tuples of names of fields, what is expected, and a function of a value that says whether it is so.
        """
        for names, expected, holds in checks:
            for name in names:
                value = getattr(self, name)
                if not holds(value):
                    raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Returns the recipe of a dict of its fields; raises a TypeError or ValueError if it is not one."""
        return cls(**fields)


def _one_of(choices: Sequence[str]) -> _Expected:
    return f"one of {', '.join(choices)}", lambda value: value in choices


def _or_none(expected: str, holds: Callable[[Any], bool]) -> _Expected:
    return f"{expected}, or None", lambda value: value is None or holds(value)


# A comparison with NaN is false, so none passes.
# The largest is that of 32 bits, with which TensorFlow counts.
_COUNT = (
    f"an integer of at least 1 and at most {2**31 - 1}",
    lambda value: isinstance(value, int) and 1 <= value < 2**31,
)
_POSITIVE = ("a positive number", lambda value: 0 < value < math.inf)
_AT_LEAST_0 = ("a number of at least 0", lambda value: 0 <= value < math.inf)
RATE = ("in [0, 1)", lambda value: 0 <= value < 1)
_FRACTION = ("in (0, 1]", lambda value: 0 < value <= 1)
_CHECKS = (
    (("epochs", "batch_size"), *_COUNT),
    (("optimizer",), *_one_of(OPTIMIZERS)),
    (("schedule",), *_one_of(SCHEDULES)),
    (("decay_rate", "decay_epochs"), *_POSITIVE),
    (("learning_rate", "warmup_epochs", "weight_decay"), *_AT_LEAST_0),
    (("momentum", "warmup_start", "ema_decay"), *RATE),
    (("clip_norm",), *_or_none(*_POSITIVE)),
    (("crop_fraction",), *_or_none(*_FRACTION)),
    (("bn_momentum",), *_or_none(*RATE)),
    (("input_size",), *_or_none("an integer of at least 32", lambda value: value >= 32)),
)
