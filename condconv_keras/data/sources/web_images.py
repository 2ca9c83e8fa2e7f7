"""Images by their address on the web."""

import http.client
import time
import urllib.parse
import urllib.request

from condconv_keras.utils.errors import UserError, one_line

MAX_BYTES = 64 * 2**20  # of an encoded image
SECONDS = 30  # that a download may take, redirects included
_CHUNK = 2**16


def is_address(text):
    """Whether a word is an address of http or https."""
    return text.lower().startswith(("http://", "https://"))


def image_name(address):
    """Returns the file's name in an address, as in `cat.jpg` of https://example.org/pets/cat.jpg?size=large."""
    parts = urllib.parse.urlsplit(address)
    return urllib.parse.unquote(parts.path).rpartition("/")[2] or parts.netloc


def download(address, max_bytes=MAX_BYTES, seconds=SECONDS):
    """Downloads a file of http or https; redirects to other schemes are not followed.

    Args:
        address: URL.
        max_bytes: of the largest file that is taken.
        seconds: that it may take.

    Returns:
        The content, bytes.

    Raises:
        UserError: there is no such file, it is larger, or it takes longer.
    """
    deadline = time.monotonic() + seconds
    try:
        with _opener().open(address, timeout=seconds) as response:
            return _read(response, max_bytes, deadline)
    except (OSError, ValueError, http.client.HTTPException) as error:
        is_late = isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)
        reason = f"it takes more than {seconds:g} s" if is_late else one_line(error, 200)
        raise UserError(f"cannot download {address!r} ({reason})") from error


def _opener():
    """An opener of http and https alone: the default one reads local files, too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _read(response, max_bytes, deadline):
    content = bytearray()
    while chunk := response.read1(_CHUNK):
        content += chunk
        if len(content) > max_bytes:
            raise ValueError(f"it has more than {max_bytes / 2**20:g} MiB")
        if time.monotonic() > deadline:
            raise TimeoutError
    expected = response.headers.get("Content-Length")
    if expected is not None and len(content) != int(expected):
        raise ValueError(f"{len(content)} of {expected} bytes came")
    return bytes(content)
