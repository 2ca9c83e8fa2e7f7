"""How many images a second the input and the training step of a run take on this machine, each alone."""

import dataclasses
import sys
import time

from condconv_keras.utils.errors import UserError, op_reason
from condconv_keras.utils.lazy import tensorflow as tf

# The activations of a whole batch may be more than this machine has.
_MOST_IMAGES = 32
_WARM_UP, _SECONDS = 2, 2.0


@dataclasses.dataclass(frozen=True)
class TrainingSpeed:
    """Images per second, measured on this machine for some seconds.

    Attributes:
        input_images_per_second: that the input pipeline of this machine reads, decodes, augments and batches.
        step_images_per_second: that one device trains, in steps of `step_images`, its input being there already.
        step_images: images of a step: those of a device's batch, 32 at most.
        bottleneck: `"input"` where it prepares fewer images than the devices of this machine train together, else
            `"training"`. On a CPU the two share the cores: an image takes the time of both.
    """

    input_images_per_second: float
    step_images_per_second: float
    step_images: int
    bottleneck: str


def measure_speed(plan, network, batch_size):
    """Measures what a run would do, some steps of it; trains the network in doing so, and writes nothing.

    Args:
        plan: `TrainingPlan`; its precision is the one of the network.
        network: built functional model, on one device.
        batch_size: images of one device.

    Returns:
        A `TrainingSpeed`.

    Raises:
        UserError: TensorFlow stops, as when an image cannot be decoded or memory is short.
    """

    print("measuring the input and the training step", file=sys.stderr, flush=True)
    execution, count = plan.config.execution, min(batch_size, _MOST_IMAGES)
    batches = iter(plan.training_batches(batch_size=count))
    try:
        input_speed = count / _seconds(lambda: next(batches))
        step = tf.function(plan.make_training_model(network).train_step, jit_compile=execution.jit_compile)
        batch = next(batches)
        step_speed = count / _seconds(lambda: step(batch)["loss"].numpy())
    except tf.errors.OpError as error:
        raise UserError(op_reason(error)[:300]) from error
    devices = max(len(tf.config.list_physical_devices("GPU")), 1) if execution.strategy != "none" else 1
    input_speed, step_speed = round(input_speed, 1), round(step_speed, 1)
    return TrainingSpeed(input_speed, step_speed, count, "input" if input_speed < step_speed * devices else "training")


def _seconds(work):
    """Seconds that the work takes, the mean of at least two times and two seconds, after some that do not count."""
    for _ in range(_WARM_UP):
        work()
    start, times = time.perf_counter(), 0
    while times < 2 or time.perf_counter() - start < _SECONDS:
        work()
        times += 1
    return (time.perf_counter() - start) / times
