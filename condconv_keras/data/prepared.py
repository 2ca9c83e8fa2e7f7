"""What a folder of prepared TFDS data sets holds, read of its files alone, without TFDS."""

import json
import pathlib

from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.text_files import read_text

_INFO = "dataset_info.json"


def prepared_splits(data_dir, name):
    """Returns the names of the splits of a prepared data set, its last version, or None where none is prepared.

    Args:
        data_dir: folder of prepared data sets.
        name: of the data set, without a configuration.

    Raises:
        UserError: the file that describes the data set is damaged.
    """
    infos = sorted(path for path in pathlib.Path(data_dir, name).glob(f"*/{_INFO}") if not _is_left_over(path.parent))
    if not infos:
        return None
    try:
        return tuple(split["name"] for split in json.loads(read_text(infos[-1], "the file of a data set"))["splits"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"expected the splits of a data set in {str(infos[-1])!r} ({one_line(error)})") from error


def has_only_left_overs(folder):
    """Whether a data set's folder has nothing in it but what an interrupted preparation leaves there."""
    return folder.is_dir() and all(map(_is_left_over, folder.iterdir()))


def _is_left_over(path):
    """TFDS writes a version in a folder of such a name, which it moves at the end."""
    return "incomplete" in path.name
