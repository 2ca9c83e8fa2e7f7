"""Which layers keep their initial weights when a network starts from a trained one."""

from condconv_keras.facts.model_card import card_class_of

# The layers of a classification network's classifier.
CLASSIFIER = ("classifier", "classifier_routing")
# The activation of the output: training is on logits, whatever the trained model returned.
_OUTPUT = ("predictions",)
# Beginnings of the names of the layers that a network of another task has from a classification network.
_BACKBONE = ("stem", "block_")


def layers_to_skip(model, source):
    """The names of the layers of two models that do not start from the trained one and keep their initial weights.

    They are the output; what makes the class predictions, where the numbers of classes differ or one has none; and
    where the two are of different tasks, all but the backbone that they share.

    Args:
        model: new model.
        source: trained model.
    """
    layers = [layer.name for layer in (*model.layers, *source.layers)]
    kind = card_class_of(model)
    if kind is not card_class_of(source):
        return {name for name in layers if not name.startswith(_BACKBONE)}
    skipped = set(_OUTPUT)
    if number_of_classes(model) != number_of_classes(source):
        skipped |= {name for name in layers if name.startswith(kind.class_layers)}
    return skipped


def number_of_classes(model):
    """The number of classes of a model of the zoo, or None without layers that predict them."""
    kind = card_class_of(model)
    has_classes = any(layer.name.startswith(kind.class_layers) for layer in model.layers)
    return kind.number_of_classes(model) if has_classes else None
