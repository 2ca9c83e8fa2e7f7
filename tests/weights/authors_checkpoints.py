"""Checkpoints with the names that the authors' code gives its variables, written as TensorFlow 1 writes them.

The names were taken from a network of the same classes and scopes, built and listed in graph mode.
"""

import random

import numpy as np
import tensorflow as tf

ROOT = "efficientnet-condconv-b0-4e"
BLOCKS = 16
FIRST_CONDITIONAL = 8
SHADOW = "/ExponentialMovingAverage"
BATCH_NORMS = ("gamma", "beta", "moving_mean", "moving_variance")


def authors_names():
    """Returns the authors' name of every variable of EfficientNet-B0 with CondConv by its path in the zoo."""
    names = {"stem/kernel": "stem/conv2d/kernel", "head/kernel": "head/conv2d/kernel"}
    names |= {f"classifier/{variable}": f"head/dense/{variable}" for variable in ("kernel", "bias")}
    for part in ("stem", "head"):
        names |= {f"{part}_bn/{variable}": f"{part}/tpu_batch_normalization/{variable}" for variable in BATCH_NORMS}
    names = {path: f"{ROOT}/{name}" for path, name in names.items()}
    for block in range(BLOCKS):
        names |= {f"block_{block + 1}_{path}": name for path, name in block_names(block).items()}
    return names


def block_names(block):
    scope = f"{ROOT}/blocks_{block}"
    roles = ["depthwise", "project"] if block == 0 else ["expand", "depthwise", "project"]
    names = {}
    for i, role in enumerate(roles):
        names |= {f"{role}_bn/{v}": f"{scope}/{numbered('tpu_batch_normalization', i)}/{v}" for v in BATCH_NORMS}
    for i, role in enumerate(("se_reduce", "se_expand")):
        names |= {f"{role}/{v}": f"{scope}/se/{numbered('conv2d', i)}/{v}" for v in ("kernel", "bias")}
    if block < FIRST_CONDITIONAL:
        convs = [role for role in roles if role != "depthwise"]
        names |= {f"{role}/kernel": f"{scope}/{numbered('conv2d', i)}/kernel" for i, role in enumerate(convs)}
        return {**names, "depthwise/kernel": f"{scope}/depthwise_conv2d/depthwise_kernel"}
    # Keras numbers its layers over the graph, and each block makes a third convolution that it does not use.
    place, scope = block - FIRST_CONDITIONAL, f"{ROOT}/model/blocks_{block}"
    bank = "depthwise_condconv_kernel"
    return {
        **names,
        **{f"routing/{v}": f"{ROOT}/blocks_{block}/dense/{v}" for v in ("kernel", "bias")},
        "expand/condconv_kernel": f"{scope}/cond_conv2d_{3 * place + 1}/condconv_kernel",
        "project/condconv_kernel": f"{scope}/cond_conv2d_{3 * place + 2}/condconv_kernel",
        f"depthwise/{bank}": f"{scope}/{numbered('depthwise_cond_conv2d', place)}/{bank}",
    }


def numbered(layer, number):
    return f"{layer}_{number}" if number else layer


def in_authors_layout(path, value):
    return value[0, 0] if path == "classifier/kernel" else value


def save_training_run(prefix, shadows):
    """Writes what a training run leaves: raw values, moving averages, RMSProp's slots and the step, in random order.

    Args:
        prefix: of the checkpoint.
        shadows: dict of variable names to the values of their moving averages. The raw values are others.
    """
    tensors = {"global_step": np.int64(109_400)}
    for name, value in shadows.items():
        tensors |= {name: value + 1, f"{name}{SHADOW}": value}
        tensors |= {f"{name}/RMSProp": np.ones_like(value), f"{name}/RMSProp_1": np.zeros_like(value)}
    names = random.Random(0).sample(sorted(tensors), len(tensors))
    saver = tf.compat.v1.train.Saver({name: tf.Variable(tensors[name]) for name in names})
    saver.save(None, str(prefix), write_meta_graph=False)


def save(prefix, tensors):
    """Writes a checkpoint of exactly these tensors."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=list(tensors.values())
    )
    return prefix


def with_shadows(tensors):
    return {**tensors, **{f"{name}{SHADOW}": value + 1 for name, value in tensors.items()}}
