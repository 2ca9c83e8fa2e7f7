"""The card of a model that was saved without one."""

from condconv_keras.models.registry import list_models, model_entry


def registered_card(model):
    """Returns the card of a Keras classifier or detector whose name is in the registry, else None.

    Input size, channels and the number of classes are the model's own; its classes are named by their index.
    """
    if model.name not in list_models():
        return None
    entry = model_entry(model.name)
    classes = entry.card.number_of_classes(model)
    if classes is None:
        return None
    height, width, channels = model.input_shape[1:]
    input_size = (height or entry.input_size, width or entry.input_size)
    return entry.make_card(map(str, range(classes)), entry.preprocessing(input_size=input_size, channels=channels))
