"""A Keras detector as a function of images."""

from condconv_keras.serving.batches import called_by_batch
from condconv_keras.tasks.detection.boxes import load_operations
from condconv_keras.tasks.detection.postprocessing import detect


def detections(model, card, images):
    """Detects objects in images.

    Args:
        model: Keras detector, whose outputs are those that `detect` takes.
        card: its `ModelCard`.
        images: float32 [batch, height, width, channels] in 0..255, resized to the model's input.

    Returns:
        Dict of tensors, as `detect` returns it.
    """
    outputs = model(card.preprocessing.scale_images(images), training=False)
    return detect(outputs, card.anchor_boxes)


def keras_predict(model, card):
    """Returns `detections` of a model as a function of images that returns NumPy arrays."""
    load_operations()
    function = called_by_batch(lambda images: detections(model, card, images), model, card.preprocessing.input_shape)
    return lambda images: {name: value.numpy() for name, value in function(images).items()}
