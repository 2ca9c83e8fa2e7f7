"""What the figures show: some layers, some classes, and the experts whose classes are shown by images."""

import numpy as np

from condconv_keras.utils.errors import unknown_name

CLASSES = 4  # of figure 3 of the paper
EXPERTS = 4  # with example images, as in the paper
TOP = 10  # classes of an expert, as in the paper


def choose_layers(names, asked):
    """Chooses layers for figure 3; the last of them is that of the figures of one layer.

    Args:
        names: sequence of all layers' names, input first.
        asked: names of layers; empty for three depths: the first layer, the middle one and the last.

    Returns:
        Indices, input first, each once.

    Raises:
        UserError: there is no layer of a name.
    """
    if not asked:
        last = len(names) - 1
        return sorted({0, last // 2, last})
    return sorted(_indices("layer", names, asked))


def choose_classes(class_names, asked):
    """The indices of the classes of these names, in this order, each once; raises a `UserError` for an unknown one."""
    return list(_indices("class", class_names, asked))


def frequent_classes(class_count):
    """The indices of the four classes with most images, the first of equal ones; one class at least."""
    order = np.argsort(-class_count, kind="stable")[:CLASSES]
    return [int(i) for place, i in enumerate(order) if class_count[i] or place == 0]


def specific_experts(layer):
    """The indices of the four experts whose weights differ most between classes, ascending.

    Args:
        layer: `LayerStatistics`.
    """
    return sorted(np.argsort(-layer.class_variance, kind="stable")[:EXPERTS].tolist())


def _indices(kind, names, asked):
    """A dict of the indices in the order asked, as an ordered set."""
    for name in asked:
        if name not in names:
            raise unknown_name(kind, name, names)
    return dict.fromkeys(list(names).index(name) for name in asked)
