"""Chromium without a window, driven by the DevTools protocol: pages that a test or a script looks at.

The messages go through two pipes, so that no port is open and no package is needed: `--remote-debugging-pipe` reads
them from file descriptor 3 and writes them to 4, each ended by a zero byte. The protocol's commands are listed at
chromedevtools.github.io/devtools-protocol.
"""

import contextlib
import fcntl
import functools
import http.server
import itertools
import json
import os
import shutil
import tempfile
import threading
import time

from condconv_keras.utils.json_text import json_text

# Debian's name and others'.
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Without a sandbox, which a container's root user cannot have: the pages are our own.
_FLAGS = ("--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe")
_LEAST_FREE = 10  # a file descriptor that neither of the pipe's ends in the browser is


def find_chromium():
    """Returns the path of Chromium, or None if there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


@contextlib.contextmanager
def served(folder):
    """Serves a folder on this machine while open; yields its address, without a slash at the end."""
    handler = functools.partial(_QuietHandler, directory=os.fspath(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class Chromium:
    """One browser with one page. To be used as a context manager.

    Args:
        flags: further flags of the browser.

    Attributes:
        events: what the browser has told by itself, a list of dicts of `method` and `params`.
    """

    def __init__(self, *flags):
        self._flags = flags
        self._numbers = itertools.count(1)
        self._received = b""
        self._session = {}
        self.events = []

    def __enter__(self):
        self._profile = tempfile.mkdtemp()
        theirs_in, self._requests = os.pipe()
        self._answers, theirs_out = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _LEAST_FREE) for end in (theirs_in, theirs_out)]
        log = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
        actions = [(os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[1], 4), log]
        arguments = [find_chromium(), *_FLAGS, f"--user-data-dir={self._profile}", *self._flags, "about:blank"]
        self._process = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions)
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self._session = {}
        with contextlib.suppress(EOFError, OSError):
            self.call("Browser.close")
        os.waitpid(self._process, 0)
        os.close(self._requests)
        os.close(self._answers)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method, **params):
        """Calls a command of the protocol; returns its result, a dict. Raises a RuntimeError for its error."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._requests, json_text(message, indent=None).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") != number:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def open(self, address):
        """Opens a page."""
        self.call("Page.navigate", url=address)

    def evaluate(self, expression):
        """Returns the value of an expression of JavaScript in the page, of a promise what it resolves to."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, expression, seconds=60):
        """Waits until an expression is true in the page; raises a TimeoutError."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} is still false after {seconds} s")
            time.sleep(0.02)

    def choose_file(self, selector, path):
        """Chooses a file in an `<input type="file">`, as a user would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[os.path.abspath(path)], nodeId=node)

    def requested(self):
        """The addresses that the page has asked for, a list."""
        events = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in events]

    def _read(self):
        while b"\0" not in self._received:
            part = os.read(self._answers, 1 << 20)
            if not part:
                raise EOFError("Chromium has ended")
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)
