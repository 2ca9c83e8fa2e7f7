"""Where the library keeps what it can make or download again."""

import os
import pathlib


def cache_folder():
    """Returns the path of the cache, `<Keras home>/condconv_keras/`, which may not exist yet.

    The Keras home is `$KERAS_HOME` or `~/.keras`, as for `keras.utils.get_file`.

    Raises:
        RuntimeError: neither is there, as for a user without a home folder.
    """
    return pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "condconv_keras"
