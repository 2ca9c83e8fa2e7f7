"""Downloads of published weights from a local server: whole, cut short, stalled, damaged, refused, and by hand."""

import hashlib
import http.server
import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

from condconv_keras.facts.published_weights import PublishedWeights
from condconv_keras.utils.errors import UserError
from condconv_keras.weights import download as published_module
from condconv_keras.weights.download import MIRROR, cache_folder, converted, fetch

CONTENT = bytes(range(256)) * 1024
PATH = "/timm/net.in1k/resolve/main/model.safetensors"


class WeightsServer(http.server.ThreadingHTTPServer):
    """Serves `content` at `PATH`; `sent` bytes of it arrive, then the connection closes or, with `stalls`, waits."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.content = CONTENT
        self.sent = None
        self.stalls = False
        self.requests = []
        self.half_sent = threading.Event()
        self.released = threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(self.path)
        if self.path == f"/moved{PATH}":
            self.send_response(302)
            self.send_header("Location", PATH)
            self.end_headers()
            return
        if self.path != PATH:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content[: server.sent])
        self.wfile.flush()
        server.half_sent.set()
        if server.stalls:
            server.released.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = WeightsServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty Keras home of the test's own; the folder of the weights in it."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv(MIRROR, raising=False)
    return tmp_path / "keras" / "condconv_keras"


def weights_at(server, **fields):
    fields = {"url": server.address + PATH, "file_name": "net.safetensors", "kind": "test", "origin": "test", **fields}
    return PublishedWeights(**fields)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def copy_converted(source, output):
    """Stands for the importer."""
    pathlib.Path(output).write_bytes(b"converted " + pathlib.Path(source).read_bytes())


def refuse(source, output):
    raise UserError(f"{str(source)!r} does not hold the weights")


def test_downloads_once_into_the_keras_cache(server, cache, capsys):
    assert cache_folder() == cache
    path = fetch(weights_at(server))
    assert path == cache / "net.safetensors" and path.read_bytes() == CONTENT
    assert fetch(weights_at(server)) == path
    assert server.requests == [PATH] and files_in(cache) == ["net.safetensors"]
    captured = capsys.readouterr()
    assert captured.out == "" and "Downloading" in captured.err


def test_follows_a_redirect(server):
    assert fetch(weights_at(server, url=f"{server.address}/moved{PATH}")).read_bytes() == CONTENT


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_download_has_the_known_hash_or_is_not_kept(server, cache, algorithm):
    weights = weights_at(server, file_hash=hashlib.new(algorithm, CONTENT).hexdigest())
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match=f"damaged; try again .expected {algorithm}"):
        fetch(weights)
    assert files_in(cache) == []
    server.content = CONTENT
    assert fetch(weights).read_bytes() == CONTENT and len(server.requests) == 2


def test_a_download_cut_short_is_not_kept(server, cache):
    server.sent = len(CONTENT) // 2
    with pytest.raises(UserError, match="retrieval incomplete") as caught:
        fetch(weights_at(server))
    assert "\n" not in str(caught.value) and files_in(cache) == []
    server.sent = None
    assert fetch(weights_at(server)).read_bytes() == CONTENT


def test_a_server_that_falls_silent_ends_the_download(server, cache, monkeypatch):
    monkeypatch.setattr(published_module, "_TIMEOUT", 0.3)
    server.sent, server.stalls = len(CONTENT) // 2, True
    with pytest.raises(UserError, match="timed out"):
        fetch(weights_at(server))
    assert files_in(cache) == [] and socket.getdefaulttimeout() is None


def test_a_process_killed_in_the_download_leaves_no_file_that_is_taken_for_it(server, cache):
    server.sent, server.stalls = len(CONTENT) // 2, True
    code = (
        "from condconv_keras.facts.published_weights import PublishedWeights; "
        "from condconv_keras.weights.download import fetch; "
        f"fetch(PublishedWeights(url={server.address + PATH!r}, file_name='net.safetensors', kind='', origin=''))"
    )
    # stderr is captured: a child that fails before its request says why.
    child = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), stderr=subprocess.PIPE)
    try:
        assert server.half_sent.wait(60) and child.poll() is None
    finally:
        child.kill()
        child.communicate()
    assert "net.safetensors" not in files_in(cache)
    server.sent, server.stalls = None, False
    assert fetch(weights_at(server)).read_bytes() == CONTENT


def test_without_a_network_one_line_says_what_to_fetch_and_where_to_put_it(cache, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    weights = PublishedWeights(
        url=f"http://127.0.0.1:{port}{PATH}", file_name="net.safetensors", kind="test", origin="test"
    )
    with pytest.raises(UserError, match="refused") as caught:
        fetch(weights)
    message = str(caught.value)
    assert weights.url in message and repr(str(cache / "net.safetensors")) in message and "\n" not in message
    assert files_in(cache) == []


def test_an_address_that_is_gone_is_refused(server, cache):
    with pytest.raises(UserError, match="404"):
        fetch(weights_at(server, url=f"{server.address}/gone"))
    assert files_in(cache) == []


def test_a_file_put_there_by_hand_is_used_if_its_hash_is_right(server, cache):
    weights = weights_at(server, file_hash=hashlib.sha256(CONTENT).hexdigest())
    cache.mkdir(parents=True)
    by_hand = cache / "net.safetensors"
    by_hand.write_bytes(CONTENT)
    assert fetch(weights).read_bytes() == CONTENT
    by_hand.write_bytes(b"another file")
    with pytest.raises(UserError, match="remove it"):
        fetch(weights)
    # The user's file is left alone.
    assert by_hand.read_bytes() == b"another file" and server.requests == []


def test_a_mirror_takes_the_place_of_the_host(server, monkeypatch):
    weights = weights_at(server, url=f"https://weights.invalid{PATH}")
    monkeypatch.setenv(MIRROR, f"{server.address}/moved/")
    assert fetch(weights).read_bytes() == CONTENT
    assert server.requests == [f"/moved{PATH}", PATH]


@pytest.mark.parametrize("mirror", ["localhost", "ftp://localhost", "http://", "/srv/weights"])
def test_a_mirror_that_is_no_server_is_refused(server, monkeypatch, mirror):
    monkeypatch.setenv(MIRROR, mirror)
    with pytest.raises(UserError, match=MIRROR):
        fetch(weights_at(server))


def test_converts_once(server, cache):
    conversions = []

    def convert(source, output):
        conversions.append(source)
        copy_converted(source, output)

    first = converted(weights_at(server), "net", convert)
    assert first.suffix == ".keras" and first.name.startswith("net-") and first.parent == cache
    assert first.read_bytes() == b"converted " + CONTENT
    assert converted(weights_at(server), "net", convert) == first
    assert conversions == [cache / "net.safetensors"] and len(server.requests) == 1


def test_another_source_or_setting_or_model_has_a_converted_file_of_its_own(server, cache):
    paths = [
        converted(weights_at(server, arguments={"num_experts": 8}), "net", copy_converted),
        converted(weights_at(server, arguments={"num_experts": 4}), "net", copy_converted),
        converted(weights_at(server, arguments={"num_experts": 4}), "net_4e", copy_converted),
    ]
    (cache / "net.safetensors").write_bytes(b"new")
    paths.append(converted(weights_at(server, arguments={"num_experts": 4}), "net", copy_converted))
    assert len(set(paths)) == 4 and paths[-1].read_bytes() == b"converted new"


def test_a_file_that_the_importer_refuses_is_downloaded_again(server, cache):
    server.content = b"garbage"
    with pytest.raises(UserError, match="does not hold the weights; it was moved") as caught:
        converted(weights_at(server), "net", refuse)
    assert "\n" not in str(caught.value) and files_in(cache) == ["net.safetensors.damaged"]
    server.content = CONTENT
    assert converted(weights_at(server), "net", copy_converted).read_bytes() == b"converted " + CONTENT
    assert len(server.requests) == 2


def test_a_file_of_the_known_hash_stays_when_the_importer_refuses_it(server, cache):
    weights = weights_at(server, file_hash=hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(UserError, match=r"does not hold the weights$"):
        converted(weights, "net", refuse)
    assert files_in(cache) == ["net.safetensors"]


def test_an_interrupted_conversion_leaves_no_converted_file(server, cache):
    def interrupted(source, output):
        pathlib.Path(output).write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted(weights_at(server), "net", interrupted)
    assert files_in(cache) == ["net.safetensors"]
