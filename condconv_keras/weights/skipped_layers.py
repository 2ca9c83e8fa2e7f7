"""Which layers keep their initial weights when a network starts from a trained one."""

# The layers of a classification network's classifier.
CLASSIFIER = ("classifier", "classifier_routing")
# The activation of the output: training is on logits, whatever the trained model returned.
_OUTPUT = ("predictions",)
# Beginnings of the names of the layers that a detector has from a classification network, and of its class predictors.
_BACKBONE = ("stem", "block_")
_CLASS_HEADS = "class_head_"


def layers_to_skip(model, source):
    """The names of the layers of two models that do not start from the trained one and keep their initial weights.

    They are the output; what makes the class predictions, where the numbers of classes differ or one has none; and
    where one of the two is a detector and the other is not, all but the backbone that they share.

    Args:
        model: new model.
        source: trained model.
    """
    layers = [layer.name for layer in (*model.layers, *source.layers)]
    if is_detector(model) != is_detector(source):
        return {name for name in layers if not name.startswith(_BACKBONE)}
    skipped = set(_OUTPUT)
    if number_of_classes(model) != number_of_classes(source):
        skipped |= {*CLASSIFIER, *(name for name in layers if name.startswith(_CLASS_HEADS))}
    return skipped


def is_detector(model):
    """Whether a model of the zoo has class predictors."""
    return any(layer.name.startswith(_CLASS_HEADS) for layer in model.layers)


def number_of_classes(model):
    """The number of classes of a model of the zoo, or None without a classifier."""
    if is_detector(model):
        return model.output["class_logits"].shape[-1] - 1
    return next((layer.filters for layer in model.layers if layer.name == "classifier"), None)
