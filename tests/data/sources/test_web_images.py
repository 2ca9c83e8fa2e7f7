"""Downloads from a server of the test's own on this machine."""

import http.server
import threading
import time

import pytest

from condconv_keras.data.sources.web_images import download, image_name, is_address
from condconv_keras.utils.errors import UserError

CONTENT = bytes(range(256)) * 300


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        getattr(self, self.path.strip("/").replace(".png", ""))()

    def image(self, more=0):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) + more))
        self.end_headers()
        self.wfile.write(CONTENT)

    def cut_off(self):
        self.image(more=1)

    def moved(self):
        self._redirect("/image.png")

    def to_a_local_file(self):
        self._redirect("file:///etc/hostname")

    def in_circles(self):
        self._redirect("/in_circles")

    def missing(self):
        self.send_error(404)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(CONTENT)
        except OSError:
            pass

    def slow(self):
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b".")
                time.sleep(0.05)
        except OSError:
            pass

    def silent(self):
        time.sleep(1)

    def _redirect(self, address):
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize("name", ["image.png", "moved"])
def test_a_file_is_read_whole(server, name):
    assert download(f"{server}/{name}") == CONTENT


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "404"),
        ("cut_off", r"76800 of 76801 bytes came|IncompleteRead"),
        ("endless", r"it has more than 0\.5 MiB"),
        ("slow", r"it takes more than 0\.3 s"),
        ("silent", r"it takes more than 0\.3 s"),
        ("to_a_local_file", "file"),
        ("in_circles", "redirect"),
    ],
)
def test_what_is_no_such_file_is_one_line(server, name, reason):
    with pytest.raises(UserError, match=rf"^cannot download 'http://127.*/{name}' \(.*({reason})") as refusal:
        download(f"{server}/{name}", max_bytes=2**19, seconds=0.3)
    assert len(str(refusal.value).splitlines()) == 1


def test_nobody_answers():
    with pytest.raises(UserError, match=r"cannot download 'http://127\.0\.0\.1:9/x\.png' \(.*refused"):
        download("http://127.0.0.1:9/x.png")


def test_addresses():
    assert is_address("HTTPS://example.org/x.png") and is_address("http://example.org")
    assert not any(map(is_address, ("ftp://example.org/x.png", "file:///x.png", "photo.jpg", "https")))
    assert image_name("https://example.org/pets/my%20cat.jpg?size=large#top") == "my cat.jpg"
    assert image_name("https://example.org") == "example.org"
