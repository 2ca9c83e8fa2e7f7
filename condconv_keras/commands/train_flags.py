"""The flags of a training run, in the groups that `--help` shows."""

from absl import flags

from condconv_keras.commands.model_flags import WIDTHS
from condconv_keras.commands.old_flags import define_old_names
from condconv_keras.commands.preprocessing_flags import define_preprocessing
from condconv_keras.data.augment.policies import POLICIES
from condconv_keras.data.dataset import VALIDATION_FRACTION
from condconv_keras.data.opening import embedded_names
from condconv_keras.facts import old_names
from condconv_keras.models.placement import ROUTING_ACTIVATIONS, ROUTING_PER
from condconv_keras.tasks.classification.recipes import CLASS_WEIGHTS
from condconv_keras.tasks.recipe import EXPERT_STARTS, OPTIMIZERS, SCHEDULES
from condconv_keras.tasks.table import all_tasks
from condconv_keras.training.config import PRECISIONS, STRATEGIES
from condconv_keras.training.recipes import RECIPES

# The word for a field of the recipe that is None.
NONE = "none"


def _augmentations():
    """What --augmentation may be for the models of each task."""
    names = (f"{task.noun}s take {', '.join(task.augmentations)}" for task in all_tasks())
    return f"Augmentation of the training images: {'; '.join(names)}."


def _data(task):
    """What --dataset may be for the models of a task."""
    embedded = " or ".join(map(repr, embedded_names(task.dataset)))
    return f"{task.noun}s take {embedded}, a TFDS name, or {task.folders}"


# Fields of `Recipe`, whose ranges the recipe itself checks: what kind of flag, and its help.
RECIPE_FLAGS = {
    "epochs": ("integer", "Epochs to train."),
    "batch_size": ("integer", "Images of one step on all devices together; the recipe's learning rate scales with it."),
    "input_size": ("integer", "Height and width of the input in pixels."),
    "optimizer": (OPTIMIZERS, "Optimizer of the weights."),
    "learning_rate": ("float", "Peak learning rate; it does not scale with the batch size."),
    "momentum": ("float", "Momentum of SGD and RMSProp."),
    "nesterov": ("bool", "Whether the momentum of SGD is Nesterov's."),
    "schedule": (SCHEDULES, "Learning rate after the warm-up."),
    "decay_rate": ("float", "Factor of the learning rate every --decay_epochs, for exponential and staircase."),
    "decay_epochs": ("float", "Epochs between two factors of --decay_rate."),
    "warmup_epochs": ("float", "Epochs of linear warm-up."),
    "warmup_start": ("float", "Start of the warm-up, as a part of the peak learning rate."),
    "weight_decay": ("float", "Weight decay of everything but batch normalization."),
    "clip_norm": ("float", "Largest global norm of the gradients."),
    "label_smoothing": ("float", "Part of the label that is spread over all classes."),
    "class_weights": (CLASS_WEIGHTS, "Weights of the classes in the loss; 'balanced' weighs all classes equally."),
    "dropout_rate": ("float", "Part of the classifier's input that is dropped."),
    "stochastic_depth_rate": ("float", "Probability of dropping the last residual block; earlier ones less."),
    "ema_decay": ("float", "Decay of the moving average of the weights, which is evaluated and exported; 0 for none."),
    "freeze_epochs": ("integer", "Epochs at the start that train the classifier alone."),
    "bn_momentum": ("float", "Momentum of batch normalization's statistics."),
    "synchronized_bn": ("bool", "Whether the devices share batch normalization's statistics."),
    "augmentation": ("string", _augmentations()),
    "policy": ((NONE, *POLICIES), "Augmentation policy: AutoAugment v0 or RandAugment."),
    "policy_layers": ("integer", "Number of RandAugment's transforms for each image."),
    "policy_magnitude": ("float", "Strength of RandAugment's transforms."),
    "random_erasing": ("float", "Probability of erasing a random box of an image."),
    "mixup_alpha": ("float", "Alpha of mixup's Beta distribution; 0 for none."),
    "cutmix_alpha": ("float", "Alpha of CutMix's Beta distribution; 0 for none."),
    "crop_fraction": ("float", "Center crop of evaluation images, as a fraction of the shorter side."),
    "routing_temperature": ("float", "Temperature of the routers at the start; it falls to 1. 1 for none."),
    "temperature_epochs": ("float", "Epochs over which the temperature falls to 1."),
    "router_normalization": ("bool", "Whether the routers' inputs are batch-normalized in training."),
    "expert_start": (
        EXPERT_STARTS,
        "Start of the experts: each its own, all alike, or one plain expert that is always on beside zeros.",
    ),
    "router_scale": ("float", "Factor of the routers' initial weights."),
    "router_learning_rate": ("float", "Factor of the learning rate of the routers."),
    "expert_dropout": ("float", "Probability of dropping an expert for an image in training."),
    "expert_diversity": ("float", "Weight of a loss that asks for images which are routed differently."),
    "expert_balance": ("float", "Weight of a loss that asks for experts which are used alike."),
}
_RECIPE_GROUP = "Recipe (default: what the recipe says)"
_DEFINE = {
    "bool": flags.DEFINE_bool,
    "float": flags.DEFINE_float,
    "integer": flags.DEFINE_integer,
    "string": flags.DEFINE_string,
}


def define_flags(values):
    """Defines the flags of a training run.

    Args:
        values: `absl.flags.FlagValues` that they are added to.
    """
    _define_model(values)
    _define_data(values)
    _define_recipe(values)
    _define_execution(values)
    _define_output(values)
    define_old_names(values, old_names.TRAIN_FLAGS)


def _define_model(values):
    group = {"module_name": "Model", "flag_values": values}
    flags.DEFINE_string(
        "model",
        None,
        "Name of the model, which `python -m models` lists; or a stored classifier to train on: a run folder, a .keras "
        "file or a SavedModel.",
        required=True,
        **group,
    )
    flags.DEFINE_float("width_multiplier", None, "Scales the channels of every layer.", *WIDTHS, **group)
    flags.DEFINE_integer(
        "num_experts",
        None,
        "Experts of every CondConv layer; a stored plain model gets as many, and starts as it is.",
        lower_bound=1,
        **group,
    )
    flags.DEFINE_integer("start_block", None, "First CondConv block.", lower_bound=1, **group)
    flags.DEFINE_integer(
        "start_stage", None, "First CondConv stage of blocks, in place of --start_block.", lower_bound=1, **group
    )
    flags.DEFINE_bool("condconv_head", None, "Whether the convolution after the blocks is a CondConv layer.", **group)
    flags.DEFINE_bool(
        "condconv_shortcut", None, "Whether projection shortcuts of CondConv blocks are CondConv layers.", **group
    )
    flags.DEFINE_bool("condconv_classifier", None, "Whether the classifier is a CondConv layer.", **group)
    flags.DEFINE_bool("condconv_predictors", None, "Whether a detector's predictors are CondConv layers.", **group)
    flags.DEFINE_enum(
        "routing_per", None, ROUTING_PER, "Unit that has a router of its own; in the paper a block.", **group
    )
    flags.DEFINE_enum(
        "routing_activation",
        None,
        ROUTING_ACTIVATIONS,
        "Activation of the routing weights; in the paper: sigmoid.",
        **group,
    )
    flags.DEFINE_string(
        "weights",
        None,
        "Weights to start from: a .keras file or SavedModel of this model, its plain twin or its backbone; a "
        ".weights.h5 file of this model; or 'imagenet', the published weights of the model or, if it has none, of its "
        "plain twin.",
        **group,
    )
    _define_stored({**group, "module_name": "Stored model (--model=FILE)"})


def _define_stored(group):
    flags.DEFINE_list(
        "layers",
        None,
        "Names or patterns of the layers that get --num_experts; default: the deeper half of the convolutions.",
        **group,
    )
    flags.DEFINE_string(
        "classifier_layer",
        None,
        "Name of the layer that classifies, which starts anew for other classes; default: the last Dense or 1x1 "
        "convolution.",
        **group,
    )
    define_preprocessing(left_out=("crop_fraction",), **group)


def _define_data(values):
    group = {"module_name": "Data", "flag_values": values}
    flags.DEFINE_string(
        "dataset",
        None,
        f"Data set: {'; '.join(map(_data, all_tasks()))}. Default: the embedded one.",
        **group,
    )
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets.", **group)
    flags.DEFINE_float(
        "validation_fraction",
        None,
        "Part to hold out of data without a split of its own, by the hash of each image's path; default: "
        f"{VALIDATION_FRACTION}.",
        0.0,
        1.0,
        **group,
    )
    flags.DEFINE_bool(
        "skip_bad_images", False, "Leave out a folder's images that cannot be decoded instead of stopping.", **group
    )
    flags.DEFINE_bool(
        "check_images",
        True,
        "Decode a folder's images before training to find bad ones, and remember the result. --nocheck_images trusts "
        "a folder of classes.",
        **group,
    )
    flags.DEFINE_bool(
        "apply_orientation",
        None,
        "Turn image files as their EXIF orientation says; the model remembers it. Default: yes; a run that goes on "
        "keeps what it began with.",
        **group,
    )


def _define_recipe(values):
    group = {"module_name": _RECIPE_GROUP, "flag_values": values}
    flags.DEFINE_string(
        "recipe",
        None,
        f"One of {', '.join(RECIPES)}; default: the data set's, for ImageNet the model's, else small.",
        **group,
    )
    for name, (kind, text) in RECIPE_FLAGS.items():
        if isinstance(kind, tuple):
            flags.DEFINE_enum(name, None, kind, text, **group)
        else:
            _DEFINE[kind](name, None, text, **group)


def _define_execution(values):
    group = {"module_name": "Execution", "flag_values": values}
    flags.DEFINE_enum("strategy", "none", STRATEGIES, "Strategy to spread the work over devices and machines.", **group)
    flags.DEFINE_string("tpu", None, "Name or address of the TPU; default: this machine's own.", **group)
    flags.DEFINE_integer(
        "logical_cpus", None, "Devices that the CPU is split into, to try `mirrored` on.", lower_bound=1, **group
    )
    flags.DEFINE_string(
        "data_service", None, "Address of a tf.data service that prepares training batches: grpc://host:port.", **group
    )
    flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the computation.", **group)
    flags.DEFINE_bool("jit_compile", False, "Compile the training step with XLA; on a CPU that is slower.", **group)
    flags.DEFINE_integer("steps_per_execution", 1, "Number of training steps in one call.", lower_bound=1, **group)
    flags.DEFINE_integer(
        "checkpoint_every", None, "Steps between checkpoints; every epoch also ends with one.", lower_bound=1, **group
    )
    flags.DEFINE_bool("log_routing", False, "Log the experts' routing weights to TensorBoard every epoch.", **group)
    flags.DEFINE_bool("deterministic", False, "Compute the same numbers in every run, at the price of speed.", **group)
    flags.DEFINE_integer("seed", 0, "Seed of initial weights, order and augmentation.", 0, 2**32 - 1, **group)


def _define_output(values):
    group = {"module_name": "Output", "flag_values": values}
    flags.DEFINE_string("model_dir", None, "Folder of the run; only --dry_run works without one.", **group)
    flags.DEFINE_bool(
        "dry_run", False, "Print what would be trained, its memory and its speed on this machine, and stop.", **group
    )
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.", **group)
