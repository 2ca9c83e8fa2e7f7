"""Times the opening of a large folder of images by class against listing it.

    python -m benchmarks.large_folder [--images=200000] [--classes=20] [--folder=FOLDER]

Writes PNG files of 8x8 pixels, all different, and prints the seconds that it takes to list them with their sizes and
times (`os.walk` and `os.stat`), and to open the folder: for the first time, once more, after one image has changed, and
with `check_images=False`; then the seconds of processor time, which other processes hardly change, and the ratio of
these to listing. Times of work that is done more than once are medians of three. The files have just been written:
their content is in memory.
"""

import os
import pathlib
import statistics
import struct
import tempfile
import time
import zlib

from absl import flags

from condconv_keras.commands import cli

FLAGS = flags.FLAGS
flags.DEFINE_integer("images", 200_000, "Files.", lower_bound=100)
flags.DEFINE_integer("classes", 20, "Folders of classes.", lower_bound=1)
flags.DEFINE_string("folder", None, "Folder that holds the files afterwards; default: a temporary one.")

_SIDE = 8
_TIMES = 3


def main(argv):
    cli.expect_flags_only(argv)
    with tempfile.TemporaryDirectory() as folder:
        # What earlier runs have found out does not count.
        os.environ["KERAS_HOME"] = os.path.join(folder, "keras")
        root = pathlib.Path(FLAGS.folder or os.path.join(folder, "images"))
        write_images(root, FLAGS.images, FLAGS.classes)
        write_images(pathlib.Path(folder, "few"), 100, 1)
        return table(measure(root, os.path.join(folder, "few")))


def write_images(root, count, classes):
    """Writes images, the pixels of each of which begin with its number."""
    folders = [root / f"class_{i:03}" for i in range(classes)]
    for folder in folders:
        folder.mkdir(parents=True)
    for i in range(count):
        with open(os.path.join(folders[i % classes], f"{i:08}.png"), "wb") as file:
            file.write(png(i))


def png(number):
    """Returns a PNG file of gray noise that depends on a number."""
    pixels = zlib.crc32(struct.pack(">I", number)).to_bytes(4, "big") * (_SIDE * _SIDE // 4)
    rows = b"".join(b"\0" + pixels[i : i + _SIDE] for i in range(0, len(pixels), _SIDE))
    chunks = {b"IHDR": struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 0, 0, 0, 0), b"IDAT": zlib.compress(rows), b"IEND": b""}
    parts = [
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def measure(root, few):
    """Returns a dict of what was done to the (elapsed, processor) seconds of it; `few` is a folder to trace with."""
    from condconv_keras.data import open_dataset

    open_dataset(few)
    seconds = {"list": _median(lambda: list_files(root)), "open, checked": _seconds(lambda: open_dataset(root))}
    seconds["open again"] = _median(lambda: open_dataset(root))
    os.utime(next(root.glob("*/*.png")))
    seconds["open, one changed"] = _seconds(lambda: open_dataset(root))
    seconds["open, trusted"] = _median(lambda: open_dataset(root, check_images=False))
    return seconds


def list_files(root):
    """Returns the sizes and times of all files."""
    return [os.stat(os.path.join(folder, name)) for folder, _, names in os.walk(root) for name in names]


def _median(work):
    return tuple(map(statistics.median, zip(*(_seconds(work) for _ in range(_TIMES)), strict=True)))


def _seconds(work):
    elapsed, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - elapsed, time.process_time() - processor


def table(seconds):
    """Returns the lines to print."""
    _, listing = seconds["list"]
    lines = [f"{'':20}{'seconds':>10}{'of processor':>14}{'ratio':>8}"]
    lines += [
        f"{name:20}{elapsed:>10.2f}{processor:>14.2f}{processor / listing:>8.1f}"
        for name, (elapsed, processor) in seconds.items()
    ]
    cores = len(os.sched_getaffinity(0))
    return "\n".join([*lines, f"{cores} cores, {FLAGS.images:,} images of {_SIDE}x{_SIDE} pixels"])


if __name__ == "__main__":
    cli.run(main)
