"""Times the preparation of training images against bare JPEG decoding.

    python -m benchmarks.input_pipeline [--images=256] [--input_size=224] [--rounds=5]

Writes 500x375 JPEG files to a temporary folder, reads them by `tf.io.decode_jpeg` alone and by what training does, in
interleaved rounds of one run, and prints medians: images per second of all cores, images per second of processor time,
which is what one core does and other processes hardly change, and the ratio of the latter to bare decoding.
"""

import os
import pathlib
import statistics
import tempfile
import time

from absl import flags

from condconv_keras.commands import cli

FLAGS = flags.FLAGS
flags.DEFINE_integer("images", 256, "Files to read in each round.", lower_bound=16)
flags.DEFINE_integer("input_size", 224, "Height and width of the prepared images.", lower_bound=32)
flags.DEFINE_integer("rounds", 5, "Interleaved rounds; the median is taken.", lower_bound=3)

HEIGHT, WIDTH = 375, 500
QUALITY = 92
BARE = "decode_jpeg"
_WARM_UP = 16  # images


def main(argv):
    cli.expect_flags_only(argv)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(pathlib.Path(folder), FLAGS.images)
        seconds = interleaved_medians(pipelines(paths, FLAGS.input_size), FLAGS.images, FLAGS.rounds)
    return table(seconds, FLAGS.images)


def write_photos(folder, count):
    """Writes images of smooth shapes and noise, of about the size in bytes of photographs; returns their paths."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        shapes = tf.image.resize(rng.uniform(0, 255, (12, 16, 3)), (HEIGHT, WIDTH), method="bicubic")
        pixels = np.clip(shapes + rng.normal(0, 8, (HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8)
        path = folder / f"{i}.jpg"
        path.write_bytes(tf.io.encode_jpeg(pixels, quality=QUALITY).numpy())
        paths.append(str(path))
    return paths


def pipelines(paths, input_size):
    """Returns a dict of name to a `tf.data.Dataset` that prepares every file once."""
    import tensorflow as tf

    from condconv_keras.data import AugmentationOptions, Preprocessing
    from condconv_keras.data.augment.augmentation import make_augmentation
    from condconv_keras.data.input.decoding import DecodedImage, EncodedImage

    preprocessing = Preprocessing((input_size, input_size), 3, 127.0, 128.0)
    crop = make_augmentation(AugmentationOptions("inception"), preprocessing)
    crop_and_policy = make_augmentation(AugmentationOptions("inception", policy="autoaugment"), preprocessing)

    def part(encoded):
        return EncodedImage(encoded, (None, None, 3))

    def whole(encoded):
        return DecodedImage(part(encoded).whole())

    prepare = {
        BARE: lambda encoded, seed: tf.io.decode_jpeg(encoded, channels=3),
        "decode, then Inception crop": lambda encoded, seed: crop(whole(encoded), seed),
        "Inception crop": lambda encoded, seed: crop(part(encoded), seed),
        "Inception crop + AutoAugment": lambda encoded, seed: crop_and_policy(part(encoded), seed),
    }
    seeds = tf.random.split([0, 0], len(paths))

    def dataset(function):
        read = tf.autograph.experimental.do_not_convert(lambda path, seed: function(tf.io.read_file(path), seed))
        return tf.data.Dataset.from_tensor_slices((paths, seeds)).map(read, tf.data.AUTOTUNE)

    return {name: dataset(function) for name, function in prepare.items()}


def interleaved_medians(datasets, images, rounds):
    """Median (elapsed, processor) seconds of that many images of each data set, in turn, after one round more."""
    times = {name: [] for name in datasets}
    for _ in range(1 + rounds):
        for name, dataset in datasets.items():
            times[name].append(_seconds(dataset, images))
    return {name: tuple(map(statistics.median, zip(*passes[1:], strict=True))) for name, passes in times.items()}


def _seconds(dataset, images):
    """Seconds of images in the midst of reading: setting up AutoAugment's graph takes a second, once in a run."""
    iterator = iter(dataset.repeat())
    for _ in range(_WARM_UP):
        next(iterator)
    elapsed, processor = time.perf_counter(), time.process_time()
    for _ in range(images):
        next(iterator)
    return time.perf_counter() - elapsed, time.process_time() - processor


def table(seconds, images):
    """Returns the lines to print."""
    _, bare = seconds[BARE]
    lines = [f"{'':30}{'images/s':>10}{'per core':>10}{'ratio':>8}"]
    lines += [
        f"{name:30}{images / elapsed:>10.0f}{images / processor:>10.0f}{bare / processor:>8.2f}"
        for name, (elapsed, processor) in seconds.items()
    ]
    return "\n".join([*lines, f"{len(os.sched_getaffinity(0))} cores, {WIDTH}x{HEIGHT} pixels"])


if __name__ == "__main__":
    cli.run(main)
