"""What the functions of every served model share: one trace or several, and files decoded in the graph."""

import tensorflow as tf

from condconv_keras.data.input.decoding import decode_image


def traced(function, input_spec):
    """Returns a function of one dtype, whose input is converted; loaded again, one trace serves every batch size."""
    function = tf.function(function, input_signature=[input_spec], autograph=False)
    function.get_concrete_function()
    return function


def of_each_dtype(function, *input_specs):
    """Returns a function with a trace for each dtype; loaded again, it is traced anew for each batch size."""
    function = tf.function(function, autograph=False)
    for spec in input_specs:
        function.get_concrete_function(spec)
    return function


def decode_images(image_bytes, preprocessing):
    """Decodes files and turns them into a model's input as evaluation does, all in the graph.

    They are turned upright as their EXIF orientation says where the `Preprocessing` applies it.

    Args:
        image_bytes: string tensor [batch], files in the formats of `decode_image`.
        preprocessing: the model's `Preprocessing`.

    Returns:
        A float32 tensor [batch, height, width, channels] in 0..255, and the int32 [batch, 2] heights and widths of the
        images, as they are seen then.

    Raises:
        tf.errors.InvalidArgumentError: when run on files of which some cannot be decoded; names their positions.
    """
    count = tf.size(image_bytes, out_type=tf.int64)
    # A data set goes on after a file that cannot be decoded, so that the error can say which ones they are.
    decoded = (
        tf.data.Dataset.from_tensor_slices(image_bytes)
        .enumerate()
        .map(lambda i, encoded: (i, *_evaluation_image(encoded, preprocessing)), num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    # Nothing decoded would be no batch: a last image, dropped again, makes it one.
    last = (count, tf.zeros(preprocessing.input_shape), tf.zeros([2], tf.int32))
    batches = decoded.concatenate(tf.data.Dataset.from_tensors(last)).batch(count + 1)
    positions, images, sizes = batches.get_single_element()
    undecoded = tf.sets.difference(tf.range(count)[None], positions[None]).values
    message = (
        "expected the bytes of whole JPEG, PNG, BMP, GIF or WebP files; these elements of image_bytes (the first is 0) "
        "are none:"
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.size(undecoded), 0), [message, undecoded], 16)]):
        return tf.identity(images[:-1]), tf.identity(sizes[:-1])


def _evaluation_image(encoded, preprocessing):
    """The image of one file, as `decoding.read_image` and `Preprocessing.evaluation_image` make it, and its size."""
    image = decode_image(encoded, 0, preprocessing.apply_orientation)

    def with_channels(channels):
        return preprocessing.evaluation_image(tf.ensure_shape(image[..., :channels], (None, None, channels)))

    prepared = tf.cond(tf.shape(image)[-1] < 3, lambda: with_channels(1), lambda: with_channels(3))
    return prepared, tf.shape(image)[:2]
