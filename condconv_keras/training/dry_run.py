"""What a run would train and what it would take, without training more of it than some steps to measure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from condconv_keras.data import Dataset, InputShard
from condconv_keras.training.config import TrainConfig
from condconv_keras.training.plan import TrainingPlan
from condconv_keras.training.speed import measure_speed
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule, keras
from condconv_keras.utils.lazy import tensorflow as tf

if TYPE_CHECKING:
    from condconv_keras.training.stored_classifier import StoredNetwork

profiling = LazyModule("condconv_keras.profiling")
optimization = LazyModule("condconv_keras.training.optimization")
cond_conv = LazyModule("condconv_keras.layers")


# Connecting to a TPU is left to training. A host of v2 or v3 has four chips of two cores.
_TPU_CORES = 8
# The most classes whose training examples are counted one by one for a person.
_SHOWN_CLASSES = 12
# Of the configuration, what is shown part by part or not at all.
_NESTED = ("recipe", "execution", "data", "extensions")
_COUNTS = ("skipped_images", "skipped_boxes", "repeated_images")


@dataclasses.dataclass(frozen=True)
class TrainingMemory:
    """The memory that training takes on every device, in bytes: an estimate.

    Left out are what the library of the device needs for itself (work space of convolutions, fragmentation), copies
    that a fused or compiled step makes or saves, and the input pipeline, which uses the memory of the host.

    Attributes:
        weights: all variables of the model.
        gradients: one value for every trainable one.
        optimizer: the optimizer's variables.
        moving_average: a copy of the floating-point weights where the recipe averages.
        activations: for the batch of one device, the output of every layer in its own precision, kept for the
            gradient, and the kernel that each CondConv layer mixes for each image, in float32.
    """

    weights: int
    gradients: int
    optimizer: int
    moving_average: int
    activations: int

    @property
    def total(self):
        return sum(dataclasses.astuple(self))


def describe_run(
    config: TrainConfig, dataset: Dataset, make_network: Callable[[TrainingPlan], StoredNetwork] | None = None
) -> dict[str, Any]:
    """Describes a run; builds its model and writes nothing.

    Args:
        config: `TrainConfig` with what the run inherits.
        dataset: the data set of the configuration.
        make_network: function of the `TrainingPlan` that returns the network of a stored classifier; None for others.

    Returns:
        A dict that JSON can hold: `config`; `data` (`classes`, `splits`, `skipped_images`, of a detector
        `skipped_boxes`, `repeated_images`, those held out that have the bytes of a training image, None of images that
        are not checked, of a classifier `class_counts`, pairs of name and training examples, where they need not be
        read from files or are used, `image_shape`, `input_shape`, `steps_per_epoch`); `model` (`parameters`,
        `trainable_parameters`, `multiply_adds` of one image); `memory_bytes` (the fields of `TrainingMemory` and
        `total`), `devices` and `batch_per_device`; `speed` (the fields of `TrainingSpeed`, or `not_measured`, the
        reason).

    Raises:
        UserError: the data, the batch size or the model's arguments do not fit.
    """
    keras.config.set_dtype_policy(config.precision)
    recipe = config.recipe
    plan = TrainingPlan(config, dataset)
    steps = plan.steps_per_epoch
    if make_network is not None:
        plan.network = make_network(plan)
    model = plan.build_network()
    cost = profiling.profile(cond_conv.fold_routing(model))
    devices = device_count(config.execution)
    batch = InputShard(count=devices).batch_size(recipe.batch_size)
    memory = training_memory(model, recipe, batch)
    return {
        "config": dataclasses.asdict(config),
        "data": {
            "classes": len(dataset.class_names),
            "splits": dataset.splits,
            **dataset.left_out(*dataset.splits),
            "repeated_images": dataset.repeated[dataset.evaluation_split],
            **plan.task.data_facts(recipe, dataset),
            "image_shape": list(dataset.image_shape),
            "input_shape": list(model.input_shape[1:]),
            "steps_per_epoch": steps,
        },
        "model": {
            "parameters": cost.parameters,
            "trainable_parameters": cost.trainable_parameters,
            "multiply_adds": cost.multiply_adds,
        },
        "memory_bytes": {**dataclasses.asdict(memory), "total": memory.total},
        "devices": devices,
        "batch_per_device": batch,
        "speed": _speed(plan, model, batch),
    }


def _speed(plan, model, batch):
    if plan.config.execution.strategy == "tpu":
        return {"not_measured": "it is the TPU's"}
    try:
        return dataclasses.asdict(measure_speed(plan, model, batch))
    except UserError as error:
        # The rest of the description holds all the same, the memory that may be short before all.
        return {"not_measured": str(error)}


def device_count(execution):
    """Returns the number of devices that share a batch, without connecting to any; a TPU is taken to have 8 cores."""
    if execution.strategy == "none":
        return 1
    if execution.strategy == "tpu":
        return _TPU_CORES

    local = execution.logical_cpus or max(len(tf.config.list_physical_devices("GPU")), 1)
    if execution.strategy == "mirrored":
        return local
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
    return local * max(sum(map(cluster.num_tasks, cluster.jobs)), 1)


def training_memory(model, recipe, batch_size):
    """Estimates the memory of training.

    Args:
        model: functional Keras model of a known input size.
        recipe: `Recipe`.
        batch_size: images of one device.

    Returns:
        A `TrainingMemory`.
    """

    optimizer = optimization.make_optimizer(recipe, steps_per_epoch=1)
    optimizer.build(model.trainable_variables)
    averaged = [v for v in model.variables if keras.backend.is_float_dtype(v.dtype)] if recipe.ema_decay else []
    return TrainingMemory(
        weights=_bytes(model.variables),
        gradients=_bytes(model.trainable_variables),
        optimizer=_bytes(optimizer.variables),
        moving_average=_bytes(averaged),
        activations=batch_size * _activation_bytes(model),
    )


def _activation_bytes(model):
    """Bytes of one image's activations."""

    outputs = [x for operation in model.operations for x in keras.tree.flatten(operation.output)]
    kinds = (cond_conv.CondConv2D, cond_conv.DepthwiseCondConv2D)
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    kernel_values = sum(layer.bank.shape[1] for layer in layers)
    return sum(_item_bytes(x.dtype) * math.prod(x.shape[1:]) for x in outputs) + 4 * kernel_values


def _bytes(variables):
    return sum(_item_bytes(v.dtype) * math.prod(v.shape) for v in variables)


def _item_bytes(dtype):
    return tf.as_dtype(dtype).size


def summary_rows(description):
    """Returns the description of a run as (name, value) pairs that a person reads."""
    config, data, model = (description[name] for name in ("config", "data", "model"))
    memory = description["memory_bytes"]
    parts = ", ".join(f"{name.replace('_', ' ')} {_mebibytes(memory[name])}" for name in memory if name != "total")
    splits = ", ".join(f"{split} {count:,}" for split, count in data["splits"].items())
    return [
        *((name, _shown(value)) for name, value in config.items() if name not in _NESTED),
        *((f"recipe.{name}", _shown(value)) for name, value in config["recipe"].items()),
        *((f"execution.{name}", _shown(value)) for name, value in config["execution"].items()),
        ("classes", f"{data['classes']:,}"),
        ("examples", splits),
        *((name.replace("_", " "), _counted(data[name])) for name in _COUNTS if name in data),
        *_class_counts(data.get("class_counts")),
        ("image shape", " x ".join("any" if side is None else str(side) for side in data["image_shape"])),
        ("input shape", " x ".join(map(str, data["input_shape"]))),
        ("steps per epoch", f"{data['steps_per_epoch']:,}"),
        ("parameters", f"{model['parameters']:,} ({model['trainable_parameters']:,} trainable)"),
        ("multiply-adds", f"{model['multiply_adds'] / 1e6:,.1f} million for one image"),
        ("devices", f"{description['devices']}, {description['batch_per_device']} images of a batch each"),
        ("memory", f"about {_mebibytes(memory['total'])} a device: {parts}"),
        ("speed", _shown_speed(description["speed"])),
    ]


def _counted(count):
    return "not counted" if count is None else f"{count:,}"


def _class_counts(counts):
    if counts is None:
        return
    if len(counts) <= _SHOWN_CLASSES:
        yield "examples by class", ", ".join(f"{name} {count:,}" for name, count in counts)
    else:
        (least, fewest), *_, (largest, most) = sorted(counts, key=lambda pair: pair[1])
        yield "examples by class", f"from {fewest:,} ({least}) to {most:,} ({largest})"


def _shown_speed(speed):
    if "not_measured" in speed:
        return f"not measured: {speed['not_measured']}"
    return (
        f"input {speed['input_images_per_second']:,.0f} images/s, training {speed['step_images_per_second']:,.0f} "
        f"images/s a device in steps of {speed['step_images']}, each alone; the bottleneck is {speed['bottleneck']}"
    )


def _shown(value):
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items()) or "-"
    return "-" if value is None else value


def _mebibytes(count):
    return f"{count / 2**20:,.1f} MiB"
