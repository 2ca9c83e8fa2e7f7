"""A training recipe as data: what a run does unless a flag says otherwise."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias, get_args

Optimizer: TypeAlias = Literal["sgd", "rmsprop", "adamw"]
Schedule: TypeAlias = Literal["cosine", "exponential", "staircase"]
ExpertStart: TypeAlias = Literal["independent", "alike", "anchored"]
OPTIMIZERS = get_args(Optimizer)
SCHEDULES = get_args(Schedule)
EXPERT_STARTS = get_args(ExpertStart)
# The fields of a recipe that a network without experts has no use for.
EXPERT_FIELDS = (
    "routing_temperature",
    "temperature_epochs",
    "router_normalization",
    "expert_start",
    "router_scale",
    "router_learning_rate",
    "expert_dropout",
    "expert_diversity",
    "expert_balance",
)
# The start for small data (docs/results/README.md): all experts count alike until routers find what to tell apart.
GENTLE_ROUTERS: Mapping[str, Any] = types.MappingProxyType({"router_scale": 0.0, "router_learning_rate": 0.1})
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
        routing_temperature: at least 1, what the logits of every router are divided by at the first step; 1 for none.
            This and the following fields are for networks with CondConv layers, and change nothing of others. By
            default the experts start and learn as the authors' do.
        temperature_epochs: positive, the epochs over which 1 / temperature rises to 1, by the same at every step; may
            be a fraction.
        router_normalization: whether the input of every router is batch-normalized, which becomes part of its weights
            when the network is saved.
        expert_start: how the experts start: `"independent"`, each with initial values of its own; `"alike"`, each with
            a part of one kernel, and routers such that the network computes what its plain one would; or
            `"anchored"`, the first with a plain kernel and the weight 1 for every image for good, the others with
            zeros, which needs the sigmoid for the routing weights.
        router_scale: at least 0, factor of the initial matrix of every router. Where routers are fitted to images, as
            in a warm start, the deviation that they get. Positive where experts start equal, as in a warm start from
            plain weights or unless `expert_start` is `"independent"`: with equal weights they would stay so.
        router_learning_rate: at least 0, factor of what the optimizer changes in a router in a step. AdamW's weight
            decay of routers stays as it is.
        expert_dropout: probability in [0, 1) that a routing weight is dropped in training, for each image and expert.
        expert_diversity: at least 0, factor of a term of the loss that asks for images which are routed differently:
            minus the variance of an expert's weight over the batch, the mean over the experts, summed over the routers.
        expert_balance: at least 0, factor of a term of the loss that asks for experts which are used alike: the squared
            coefficient of variation of their mean weights in a batch, summed over the routers.

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
    routing_temperature: float = 1.0
    temperature_epochs: float = 4.0
    router_normalization: bool = False
    expert_start: ExpertStart = "independent"
    router_scale: float = 1.0
    router_learning_rate: float = 1.0
    expert_dropout: float = 0.0
    expert_diversity: float = 0.0
    expert_balance: float = 0.0

    # Without annotations: no fields. What only the recipes of some tasks decide, and what holds for the others.
    stochastic_depth_rate = 0.0
    policy = None
    mixes_images = False
    freeze_epochs = 0

    def __post_init__(self) -> None:
        self.check(_CHECKS)
        if self.router_scale == 0 and self.expert_start != "independent":
            raise ValueError(
                "`router_scale` must be positive where experts start equal: with equal weights they would stay so. "
                f"Received: router_scale=0, expert_start={self.expert_start!r}"
            )

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
    (("expert_start",), *_one_of(EXPERT_STARTS)),
    (("decay_rate", "decay_epochs", "temperature_epochs"), *_POSITIVE),
    (("learning_rate", "warmup_epochs", "weight_decay"), *_AT_LEAST_0),
    (("router_scale", "router_learning_rate", "expert_diversity", "expert_balance"), *_AT_LEAST_0),
    (("routing_temperature",), "a number of at least 1", lambda value: 1 <= value < math.inf),
    (("momentum", "warmup_start", "ema_decay", "expert_dropout"), *RATE),
    (("clip_norm",), *_or_none(*_POSITIVE)),
    (("crop_fraction",), *_or_none(*_FRACTION)),
    (("bn_momentum",), *_or_none(*RATE)),
    (("input_size",), *_or_none("an integer of at least 32", lambda value: value >= 32)),
)
