"""The card of a model that was saved without one."""

from condconv_keras.model_card import ModelCard
from models.registry import list_models, model_entry


def registered_card(model):
    """Returns the `ModelCard` of a Keras classifier whose name is in the registry, else None.

    Input size, channels and the number of classes are the model's own; its classes are named by their index.
    """
    if model.name not in list_models() or len(model.output_shape) != 2:
        return None
    entry = model_entry(model.name)
    height, width, channels = model.input_shape[1:]
    input_size = (height or entry.input_size, width or entry.input_size)
    preprocessing = entry.preprocessing(input_size=input_size, channels=channels)
    return ModelCard(model.name, tuple(map(str, range(model.output_shape[-1]))), preprocessing)
