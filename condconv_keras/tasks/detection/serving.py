"""The functions of a served detector.

`images` are [batch, height, width, channels] in 0..255, of any size: the signatures resize them as evaluation does.

- `serving_default` and `serve` take float32 `images` and return `boxes`, float32 [batch, 100, 4] (ymin, xmin, ymax,
  xmax) in pixels of the given image, `classes`, int64 [batch, 100] from 0, `scores`, float32 [batch, 100], the highest
  first, and `count`, int32 [batch], the detections of each image; zeros after that many.
- `serve_uint8` takes uint8 `images` and returns the same.
- `serve_bytes` takes `image_bytes`, string [batch], the content of JPEG, PNG, BMP, GIF or WebP files of any sizes, and
  returns the same, in pixels of the image in the file (turned upright where the card applies its EXIF orientation), and
  `class_names`, string [batch, 100], empty after the detections. If files cannot be decoded, the error is an
  InvalidArgumentError that names their positions in the batch.
- `raw_outputs` takes float32 `images` of the model's input size and returns `box_codes` and `class_logits`.
- `routing` is that of a classifier, for `images` of the model's input size.
"""

import functools

import tensorflow as tf

from condconv_keras.serving.served_network import trace_network
from condconv_keras.serving.signatures import decode_images, of_each_dtype, traced
from condconv_keras.tasks.detection import detect


def endpoints(model, card, class_names):
    """Traces the functions that a SavedModel offers; as `Task.endpoints`."""
    # Every endpoint calls this one trace, so that the network is saved once.
    network = trace_network(model, card, answer)
    preprocessing = card.preprocessing
    anchors = card.anchor_boxes

    def outputs(kind, images):
        return network(images)[kind]

    def found(images, sizes):
        """Detections in prepared images, in pixels of images of int32 [batch, 2] sizes."""
        results = _detect(outputs("raw_outputs", images), anchors)
        pixels = tf.cast(tf.tile(sizes, (1, 2)), tf.float32)
        return {
            **results,
            "boxes": results["boxes"] * pixels[:, tf.newaxis],
            "classes": tf.cast(results["classes"], tf.int64),
        }

    def detect_images(images):
        shape = tf.shape(images)
        prepared = tf.map_fn(
            preprocessing.evaluation_image,
            images,
            fn_output_signature=tf.TensorSpec(preprocessing.input_shape, tf.float32),
        )
        return found(prepared, tf.tile(shape[tf.newaxis, 1:3], (shape[0], 1)))

    def detect_bytes(image_bytes):
        results = found(*decode_images(image_bytes, preprocessing))
        filled = tf.sequence_mask(results["count"], tf.shape(results["classes"])[1])
        return {**results, "class_names": tf.where(filled, class_names.lookup(results["classes"]), "")}

    any_size = (None, None, None, preprocessing.channels)
    float_images, uint8_images = (tf.TensorSpec(any_size, dtype, name="images") for dtype in (tf.float32, tf.uint8))
    prepared_images = tf.TensorSpec((None, *preprocessing.input_shape), tf.float32, name="images")
    functions = {
        # The name that TensorFlow Serving asks for; as a layer it takes both dtypes.
        "serving_default": of_each_dtype(detect_images, float_images, uint8_images),
        "serve": traced(detect_images, float_images),
        "serve_uint8": traced(detect_images, uint8_images),
        "serve_bytes": traced(detect_bytes, tf.TensorSpec((None,), tf.string, name="image_bytes")),
    }
    for kind in ("raw_outputs", "routing"):
        if network.structured_outputs[kind]:
            functions[kind] = traced(functools.partial(outputs, kind), prepared_images)
    return functions


def _detect(outputs, anchors):
    """`detect` for any batch size, zero included: TensorFlow's operator needs one image."""
    count = tf.shape(outputs["box_codes"])[0]
    filled = {name: tf.pad(value, [[0, tf.maximum(1 - count, 0)], [0, 0], [0, 0]]) for name, value in outputs.items()}
    return {name: value[:count] for name, value in detect(filled, anchors).items()}


def answer(model, card, images):
    """What `trace_network` returns of a detector: `raw_outputs` with what the network returns."""
    return {"raw_outputs": model(card.preprocessing.scale_images(images), training=False)}
