"""Which file an annotation means by the name of an image, on a file system that may spell it in another way."""

import collections
import os
import pathlib
import re
import unicodedata
import urllib.parse

from condconv_keras.data.sources.image_files import entries, is_image
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.text_files import is_unicode

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*(/[^?#]*).*", re.DOTALL)  # a URL, its path in parentheses


class ImageLookup:
    """Finds the image files of annotations, and keeps one from being that of two.

    A file that has the name is taken before one whose name differs in the letter case, in the form of its Unicode
    characters or in their encoding, and that before one with another ending that the decoder reads.
    """

    def __init__(self):
        self._files = {}
        self._owners = {}

    def find(self, folders, owner, stem, name=None):
        """Returns the path of an image, or None if no folder has it.

        Args:
            folders: list of `pathlib.Path`, in the order in which they are looked through; they need not exist.
            owner: what is annotated, for messages; another one may not have the same image.
            stem: name of the file without its ending, which may be any.
            name: name of the file, if it is known.

        Raises:
            UserError: several files may be meant, or the file is that of another owner.
        """
        for is_meant in (
            lambda file: file == name,
            lambda file: name is not None and comparable(file) == comparable(name),
            lambda file: os.path.splitext(file)[0] == stem,
            lambda file: comparable(os.path.splitext(file)[0]) == comparable(stem),
        ):
            for folder in folders:
                found = [file for file in self._images(folder)[comparable(stem)] if is_meant(file)]
                if len(found) > 1:
                    raise UserError(
                        f"expected one image for {owner!r} in {str(folder)!r}, received: {', '.join(sorted(found))}"
                    )
                if found:
                    return self.owned(str(folder / found[0]), owner)
        return None

    def find_named(self, folders, owner, name):
        """Returns the path of the image that a name means, which may have no ending; arguments and errors as `find`."""
        without = os.path.splitext(name)[0]
        stems = (without, name) if is_image(name) else (name, without)
        return next(filter(None, (self.find(folders, owner, stem, name) for stem in dict.fromkeys(stems))), None)

    def owned(self, path, owner):
        """Returns the path of an image that is an owner's; raises a `UserError` if it is another's."""
        other = self._owners.setdefault(path, owner)
        if other != owner:
            raise UserError(f"expected an image for each annotation, {path!r} is that of {other!r} and of {owner!r}")
        return path

    def _images(self, folder):
        """The names of the image files of a folder: a dict of their comparable stems to lists."""
        if folder not in self._files:
            self._files[folder] = collections.defaultdict(list)
            for entry in entries(folder) if os.path.isdir(folder) else ():
                if is_image(entry.name) and os.path.isfile(entry.path):
                    self._files[folder][comparable(os.path.splitext(entry.name)[0])].append(entry.name)
        return self._files[folder]


def comparable(name):
    """Returns what is equal for names that differ in letter case, Unicode form or encoding only."""
    if not is_unicode(name):
        # What older systems wrote, where it is not UTF-8, is most often Latin-1.
        name = os.fsencode(name).decode("latin-1") if _is_file_name(name) else name
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def similar_files(path):
    """Returns the sorted names of the files beside a missing one that have its name and another ending."""
    path = pathlib.Path(path)
    if not os.path.isdir(path.parent):
        return []
    names = [entry.name for entry in entries(path.parent) if entry.is_file()]
    return sorted(name for name in names if comparable(os.path.splitext(name)[0]) == comparable(path.stem))


def _is_file_name(name):
    """Whether a file may have this name: a text of JSON may hold halves of characters, which none has."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def path_of(name):
    """The path in the URL that the name of an image is, or the name itself."""
    address = _ADDRESS.fullmatch(name)
    return name if address is None else urllib.parse.unquote(address[1])
