"""Learning rates as functions of the optimizer's step."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="condconv_keras")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from zero, then cosine to zero or an exponential decay.

    Args:
        learning_rate: peak, reached after `warmup_steps`.
        schedule: `"cosine"`: half a cosine from the peak to zero at `total_steps`; `"exponential"`: the peak times
            `decay_rate` to the power of the epochs since the warm-up, continuous in the step.
        warmup_steps: steps of the warm-up; 0 for none.
        total_steps: steps of the run.
        steps_per_epoch: steps of an epoch.
        decay_rate: per epoch, of the exponential decay.
    """

    def __init__(self, learning_rate, schedule, warmup_steps, total_steps, steps_per_epoch, decay_rate=1.0):
        if schedule not in ("cosine", "exponential"):
            raise ValueError(f"`schedule` must be 'cosine' or 'exponential'. Received: schedule={schedule!r}")
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.steps_per_epoch = steps_per_epoch
        self.decay_rate = decay_rate

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warmup = step / max(self.warmup_steps, 1)
        after = ops.maximum(step - self.warmup_steps, 0.0)
        if self.schedule == "cosine":
            fraction = ops.minimum(after / max(self.total_steps - self.warmup_steps, 1), 1.0)
            factor = 0.5 * (1.0 + ops.cos(math.pi * fraction))
        else:
            factor = ops.power(float(self.decay_rate), after / self.steps_per_epoch)
        return self.learning_rate * ops.where(step < self.warmup_steps, warmup, factor)

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "steps_per_epoch": self.steps_per_epoch,
            "decay_rate": self.decay_rate,
        }
