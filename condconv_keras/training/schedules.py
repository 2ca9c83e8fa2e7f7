"""Learning rates as functions of the optimizer's step."""

import math

import keras
from keras import ops

from condconv_keras.tasks.recipe import SCHEDULES


@keras.saving.register_keras_serializable(package="condconv_keras")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then cosine to zero or an exponential decay.

    Args:
        learning_rate: peak, reached after `warmup_steps`.
        schedule: `"cosine"`: half a cosine from the peak to zero at `total_steps`; `"exponential"`: the peak times
            `decay_rate` for every `decay_steps` since the warm-up, continuous in the step; `"staircase"`: the peak
            times `decay_rate` for every whole `decay_steps` since the start, the warm-up included, as in
            `build_learning_rate`, utils.py of EfficientNet in tensorflow/tpu.
        warmup_steps: steps of the warm-up; 0 for none.
        total_steps: steps of the run.
        decay_rate, decay_steps: of the exponential decays.
        warmup_start: where the warm-up starts, as a part of the peak.
    """

    def __init__(
        self, learning_rate, schedule, warmup_steps, total_steps, decay_rate=1.0, decay_steps=1, warmup_start=0.0
    ):
        if schedule not in SCHEDULES:
            raise ValueError(f"`schedule` must be one of {SCHEDULES}. Received: schedule={schedule!r}")
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.decay_rate = decay_rate
        self.decay_steps = decay_steps
        self.warmup_start = warmup_start

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warmup = self.warmup_start + (1.0 - self.warmup_start) * step / max(self.warmup_steps, 1)
        after = ops.maximum(step - self.warmup_steps, 0.0)
        if self.schedule == "cosine":
            fraction = ops.minimum(after / max(self.total_steps - self.warmup_steps, 1), 1.0)
            factor = 0.5 * (1.0 + ops.cos(math.pi * fraction))
        elif self.schedule == "exponential":
            factor = ops.power(float(self.decay_rate), after / self.decay_steps)
        else:
            factor = ops.power(float(self.decay_rate), ops.floor(step / self.decay_steps))
        return self.learning_rate * ops.where(step < self.warmup_steps, warmup, factor)

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "decay_rate": self.decay_rate,
            "decay_steps": self.decay_steps,
            "warmup_start": self.warmup_start,
        }
