"""SIGTERM: a scheduler takes the machine back, and wants the program to end in a state that can go on."""

import contextlib
import signal
import sys
import threading

# What a process that the signal ends returns; schedulers take it for "start again".
EXIT_CODE = 128 + signal.SIGTERM


class Termination:
    """The signal, for a run that is asked to stop.

    Attributes:
        requested: whether the signal has come.
        deferred: whether the program ends itself when the time is right; else the signal ends it at once.
    """

    def __init__(self):
        self.requested = False
        self.deferred = False

    @contextlib.contextmanager
    def handled(self):
        """Receives the signal for the length of a `with` block."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone
            return
        before = signal.signal(signal.SIGTERM, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _receive(self, number, frame):
        self.requested = True
        if not self.deferred:
            self.end()

    def end(self):
        """Ends the program."""
        print("terminated (SIGTERM); the same command goes on", file=sys.stderr)
        raise SystemExit(EXIT_CODE)
