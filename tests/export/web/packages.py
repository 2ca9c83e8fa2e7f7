"""Stand-ins for the packages of LiteRT.js: their names, a few bytes in each file."""

import base64
import hashlib
import io
import json
import tarfile

from condconv_keras.export.web import litert_js

SCRIPT = b"""// See https://example.com/a?b=c) and http://cdn.example.com/x
var isFileURI = name => name.startsWith("file://");
//# sourceMappingURL=index.js.map
"""
MAIN = b'import { createWasmLib } from "@litertjs/wasm-utils";\n' + SCRIPT
MEMBERS = {
    "@litertjs/core": {
        "dist/index.js": MAIN,
        "dist/index.js.map": b"{}",
        **{f"wasm/litert_wasm_{kind}internal.js": SCRIPT for kind in ("", "compat_", "jspi_", "threaded_")},
        **{f"wasm/litert_wasm_{kind}internal.wasm": b"\0asm" for kind in ("", "compat_", "jspi_", "threaded_")},
    },
    "@litertjs/wasm-utils": {"dist/index.js": SCRIPT},
}
PACKAGES = tuple(MEMBERS)


def archive_name(package):
    return f"{package[1:].replace('/', '-')}-{litert_js.VERSION}.tgz"


def archive(package, members=None, version=litert_js.VERSION):
    """The bytes of what `npm pack` writes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {**(members or MEMBERS[package]), "package.json": _json(version)}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def integrity(content):
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def write_archives(folder, monkeypatch):
    """Writes the packages as `npm pack` does and makes them the pinned ones; returns the folder."""
    folder.mkdir(exist_ok=True)
    contents = {package: archive(package) for package in PACKAGES}
    for package, content in contents.items():
        (folder / archive_name(package)).write_bytes(content)
    monkeypatch.setattr(litert_js, "INTEGRITY", {name: integrity(content) for name, content in contents.items()})
    return folder


def write_unpacked(folder, version=litert_js.VERSION):
    """Writes the packages as `npm install` does; returns the folder."""
    for package, members in MEMBERS.items():
        for name, content in {**members, "package.json": _json(version)}.items():
            path = folder / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def _json(version):
    return json.dumps({"version": version}).encode()
