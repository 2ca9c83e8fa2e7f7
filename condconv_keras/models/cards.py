"""The card of a model that was saved without one."""

from condconv_keras.facts.model_card import DETECTION, ModelCard
from condconv_keras.models.registry import list_models, model_entry


def registered_card(model):
    """Returns the `ModelCard` of a Keras classifier or detector whose name is in the registry, else None.

    Input size, channels and the number of classes are the model's own; its classes are named by their index.
    """
    classes = _classes(model) if model.name in list_models() else None
    if classes is None:
        return None
    entry = model_entry(model.name)
    height, width, channels = model.input_shape[1:]
    input_size = (height or entry.input_size, width or entry.input_size)
    preprocessing = entry.preprocessing(input_size=input_size, channels=channels)
    return ModelCard(model.name, tuple(map(str, range(classes))), preprocessing, entry.task)


def _classes(model):
    """The number of classes of a registered model, or None if it ends in features."""
    if model_entry(model.name).task == DETECTION:
        return model.output["class_logits"].shape[-1] - 1
    return model.output_shape[-1] if len(model.output_shape) == 2 else None
