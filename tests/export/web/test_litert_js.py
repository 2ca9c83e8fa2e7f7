"""Where LiteRT.js comes from, and what a page has of it."""

import os
import re
import sys

import pytest

from condconv_keras.export.web import litert_js
from condconv_keras.export.web.litert_js import litert_files, write_litert
from condconv_keras.utils.cache import cache_folder
from condconv_keras.utils.errors import UserError
from tests.export.web.packages import PACKAGES, archive, archive_name, integrity, write_archives, write_unpacked
from tests.processes import ROOT

NAMES = {
    "litert.js",
    "wasm-utils.js",
    "litert_wasm_internal.js",
    "litert_wasm_internal.wasm",
    "litert_wasm_compat_internal.js",
    "litert_wasm_compat_internal.wasm",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, and no program but those that a test puts into the folder."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return programs


def write_npm(programs, body):
    """An `npm` that runs Python: of its arguments `package` and `folder` are known."""
    path = programs / "npm"
    path.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\npackage = sys.argv[2]\n"
        "folder = pathlib.Path(next(a for a in sys.argv if a.startswith('--pack-destination=')).partition('=')[2])\n"
        f"{body}\n"
    )
    path.chmod(0o755)


def test_the_scripts_name_no_other_server_and_do_what_they_did(tmp_path, monkeypatch):
    files = litert_files(write_archives(tmp_path / "archives", monkeypatch))
    assert files.keys() == NAMES
    for name in files:
        if name.endswith(".js"):
            first, *lines = files[name].decode().splitlines()
            assert first.startswith("// Changed by condconv_keras: ")
            assert lines[-2] == "// See (address)) and (address)"
            assert lines[-1] == 'var isFileURI = name => name.startsWith("file://");'
    assert files["litert.js"].decode().splitlines()[1] == 'import { createWasmLib } from "./wasm-utils.js";'
    assert files["litert_wasm_internal.wasm"] == b"\0asm"


def test_the_license_lies_beside_it(tmp_path, monkeypatch):
    files = litert_files(write_archives(tmp_path / "archives", monkeypatch))
    write_litert(tmp_path / "litert", files)
    assert {path.name for path in (tmp_path / "litert").iterdir()} == {*NAMES, "LICENSE"}
    text = (tmp_path / "litert/LICENSE").read_text()
    assert text.startswith(
        f"LiteRT.js {litert_js.VERSION}: the packages @litertjs/core and @litertjs/wasm-utils of npm."
    )
    assert (ROOT / "LICENSE").read_text() in text
    for name in ("XNNPACK", "ruy", "gemmlowp", "flatbuffers"):
        assert f"\n== {name}\n\n" in text
    assert "Copyright (c) Facebook, Inc. and its affiliates." in text.partition("== XNNPACK")[2]


def test_unpacked_packages_are_taken(tmp_path, monkeypatch):
    packed = litert_files(write_archives(tmp_path / "archives", monkeypatch))
    assert litert_files(write_unpacked(tmp_path / "node_modules")) == packed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / archive_name(PACKAGES[1])).unlink(),
            "expected 'litertjs-wasm-utils-.*tgz' of `npm pack`",
        ),
        (
            lambda folder: (folder / archive_name(PACKAGES[0])).write_bytes(archive(PACKAGES[0], version="0.0.1")),
            r"core-.*tgz' is not @litertjs/core .*, by its SHA-512; remove it",
        ),
        (lambda folder: (folder / archive_name(PACKAGES[0])).write_bytes(b""), "by its SHA-512"),
    ],
)
def test_other_archives_are_refused(tmp_path, monkeypatch, change, message):
    folder = write_archives(tmp_path / "archives", monkeypatch)
    change(folder)
    with pytest.raises(UserError, match=message):
        litert_files(folder)


def test_other_unpacked_packages_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected version .* received '0\.0\.1'"):
        litert_files(write_unpacked(tmp_path / "old", version="0.0.1"))
    folder = write_unpacked(tmp_path / "part")
    (folder / PACKAGES[0] / "wasm/litert_wasm_internal.wasm").unlink()
    with pytest.raises(UserError, match=r"expected the whole package in .*part"):
        litert_files(folder)
    (folder / PACKAGES[0] / "package.json").write_text("{")
    with pytest.raises(UserError, match="expected a package of npm in "):
        litert_files(folder)
    with pytest.raises(UserError, match=r"in the folder '.*nothing'"):
        litert_files(tmp_path / "nothing")


def test_npm_fetches_the_packages_once(home, tmp_path, monkeypatch, capsys):
    folder = write_archives(tmp_path / "archives", monkeypatch)
    write_npm(
        home,
        f"name = package.rpartition('@')[0][1:].replace('/', '-')\n"
        f"found = next(pathlib.Path({str(folder)!r}).glob(name + '-*'))\n"
        f"(folder / found.name).write_bytes(found.read_bytes())",
    )
    files = litert_files()
    assert files == litert_files(folder)
    assert sorted(os.listdir(cache_folder())) == sorted(map(archive_name, PACKAGES))
    assert capsys.readouterr().err.count("by npm") == 2
    (home / "npm").unlink()
    assert litert_files() == files


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "the page takes @litertjs/core .* there is no `npm` here: install it, or give `litertjs`"),
        (
            "sys.exit('npm error network: no\\nroute')",
            r"npm cannot fetch @litertjs/core .* \(npm error network: no route\)",
        ),
        ("pass", r"npm cannot fetch .* \(no reason given\)"),
        ("(folder / 'other.tgz').write_bytes(b'other')", "is not @litertjs/core"),
    ],
)
def test_what_npm_cannot_fetch_is_one_line(home, body, message):
    if body is not None:
        write_npm(home, body)
    with pytest.raises(UserError, match=message):
        litert_files()
    assert not cache_folder().exists()


def test_the_pinned_hashes_are_of_sha_512():
    assert litert_js.INTEGRITY.keys() == set(PACKAGES)
    assert all(re.fullmatch(r"sha512-[\w+/]{86}==", text) for text in litert_js.INTEGRITY.values())
    assert integrity(b"") not in litert_js.INTEGRITY.values()
