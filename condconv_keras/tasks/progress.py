"""The progress of an evaluation."""

from condconv_keras.utils.lazy import LazyModule

tqdm = LazyModule("tqdm")


def with_progress(batches, examples, description=None):
    """Passes batches on, with a progress bar on a terminal.

    Args:
        batches: iterable of (images, labels or boxes).
        examples: number of examples in them.
        description: text before the bar, or None.
    """
    with tqdm.tqdm(total=examples, desc=description, unit="img", disable=None) as bar:
        for images, labels in batches:
            yield images, labels
            bar.update(len(images))
