"""A bar for what takes a while, where `tqdm` is installed: the model zoo does without it."""

try:
    from tqdm import tqdm
except ModuleNotFoundError:
    tqdm = None


def progress(iterable, **options):
    """Returns an iterable of the same items that shows on a terminal's standard error how far it is.

    Args:
        iterable: what to go through.
        **options: those of `tqdm.tqdm`, as `unit="model"`.
    """
    return iterable if tqdm is None else tqdm(iterable, **{"disable": None, **options})
