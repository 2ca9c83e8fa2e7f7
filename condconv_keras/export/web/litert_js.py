"""LiteRT.js, which runs `.tflite` files in a browser: two packages of npm, pinned, and what a page needs of them.

Source: https://ai.google.dev/edge/litert/web; the packages are built from github.com/google-ai-edge/LiteRT.
"""

import base64
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping

from condconv_keras.utils.cache import cache_folder
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.files import put_text, whole_file

VERSION = "2.5.3"
# What npm itself says of the packages of that version, `npm view PACKAGE@VERSION dist.integrity`.
INTEGRITY = {
    "@litertjs/core": "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    "@litertjs/wasm-utils": (
        "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ=="
    ),
}
# A file of a page to the package that it is of and its name there. LiteRT.js itself chooses between the two builds by
# what the browser can: `compat` is without relaxed SIMD. The one with threads needs headers that few servers send.
_FILES = {
    "litert.js": ("@litertjs/core", "dist/index.js"),
    "wasm-utils.js": ("@litertjs/wasm-utils", "dist/index.js"),
    **{
        name: ("@litertjs/core", f"wasm/{name}")
        for build in ("", "compat_")
        for name in (f"litert_wasm_{build}internal.js", f"litert_wasm_{build}internal.wasm")
    },
}
_TIMEOUT = 300  # seconds for a package of 12 MB
_LIBRARIES = ("XNNPACK", "ruy", "gemmlowp", "flatbuffers")
_CHANGED = "// Changed by condconv_keras: addresses in comments are left out, and imports name files beside this one.\n"
_NOTICE = f"""LiteRT.js {VERSION}: the packages {" and ".join(INTEGRITY)} of npm.
Copyright 2025 Google LLC. Licensed under the Apache License, Version 2.0, which follows.
The packages name no licenses of the libraries that are compiled into the .wasm files. Behind it follow those of
libraries of LiteRT that the installed TensorFlow has: {", ".join(_LIBRARIES)}.
The .js files were changed by condconv_keras: addresses in comments are left out, and imports name files beside them.

"""


def litert_files(folder: str | os.PathLike[str] | None = None) -> dict[str, bytes]:
    """Returns the files of LiteRT.js that a page needs, a dict of name to bytes.

    Args:
        folder: path of a folder with the two packages, as `npm pack` writes them or, without a check of their hash, as
            `npm install` unpacks them (`node_modules`); None for the cache, and npm where they are not there.

    Raises:
        UserError: a package cannot be had, or is another one than the pinned one.
    """
    read = {package: _reader(package, folder) for package in INTEGRITY}
    files = {name: read[package](member) for name, (package, member) in _FILES.items()}
    return {name: _own(content) if name.endswith(".js") else content for name, content in files.items()}


def write_litert(folder: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Writes `litert_files` and their licenses into a new folder, a `pathlib.Path`."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    text = pathlib.Path(__file__).parent.joinpath("page", "LICENSE-2.0.txt").read_text(encoding="utf-8")
    put_text(folder / "LICENSE", "\n".join([_NOTICE + text, *_licenses_of_libraries()]))


def _licenses_of_libraries():
    """The license of each of `_LIBRARIES` that lies beside TensorFlow's headers, below its name."""
    headers = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent / "include/external"
    paths = {name: headers / name / "LICENSE" for name in _LIBRARIES}
    return [f"== {name}\n\n{path.read_text(encoding='utf-8')}" for name, path in paths.items() if path.is_file()]


def _own(content):
    """A script of LiteRT.js as a page has it: it names no other server, and no file that is not there."""
    lines = content.decode().replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"').splitlines()
    kept = [line for line in lines if not line.startswith("//# sourceMappingURL")]
    return (_CHANGED + "".join(f"{_without_addresses(line)}\n" for line in kept)).encode()


def _without_addresses(line):
    return re.sub(r"https?://[^\s)]+", "(address)", line) if line.lstrip().startswith("//") else line


def _reader(package, folder):
    """A function of a file's name in a package that returns its bytes."""
    archive = f"{package.removeprefix('@').replace('/', '-')}-{VERSION}.tgz"
    if folder is None:
        path = cache_folder() / archive
        if not path.is_file():
            _download(package, path)
        return _archive_reader(path, package)
    folder = pathlib.Path(folder)
    if (folder / archive).is_file():
        return _archive_reader(folder / archive, package)
    if (folder / package / "package.json").is_file():
        return _folder_reader(folder / package)
    raise UserError(
        f"expected {archive!r} of `npm pack`, or {package!r} as `npm install` unpacks it, in the folder {str(folder)!r}"
    )


def _archive_reader(path, package):
    content = path.read_bytes()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY[package]:
        raise UserError(f"{str(path)!r} is not {package} {VERSION}, by its SHA-512; remove it")
    members = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            if member.isfile():
                members[member.name.removeprefix("package/")] = archive.extractfile(member).read()
    return members.__getitem__


def _folder_reader(folder):
    try:
        version = json.loads((folder / "package.json").read_bytes())["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"expected a package of npm in {str(folder)!r} ({one_line(error)})") from error
    if version != VERSION:
        raise UserError(f"expected version {VERSION} of the package in {str(folder)!r}, received {version!r}")

    def read(member):
        try:
            return (folder / member).read_bytes()
        except OSError as error:
            raise UserError(f"expected the whole package in {str(folder)!r} ({one_line(error)})") from error

    return read


def _download(package, path):
    """Lets npm fetch a package into the cache."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"the page takes {package} {VERSION}, which npm fetches, and there is no `npm` here: install it, or give "
            "`litertjs`, a folder with the packages"
        )
    print(f"fetching {package} {VERSION} by npm", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        patience = ("--fetch-retries=1", "--fetch-timeout=60000")
        command = [npm, "pack", f"{package}@{VERSION}", f"--pack-destination={folder}", "--loglevel=error", *patience]
        try:
            result = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _no_package(package, one_line(error, 200)) from error
        found = list(pathlib.Path(folder).glob("*.tgz"))
        if result.returncode or len(found) != 1:
            raise _no_package(package, one_line(result.stderr or result.stdout or "no reason given", 200))
        _archive_reader(found[0], package)
        with whole_file(path) as partial:
            shutil.copyfile(found[0], partial)


def _no_package(package, reason):
    return UserError(
        f"npm cannot fetch {package} {VERSION}, which the page takes ({reason}); without a network give `litertjs`, a "
        "folder with the packages"
    )
