"""Graceful handling of SIGTERM and Ctrl-C during training, at the end of the step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mu_lightning.utilities.errors import Interrupted

STATUS = {"SIGINT": 130, "SIGTERM": 143}
# Signals of SLURM before the end of a job, set by --signal of sbatch.
REQUEUE = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGHUP") if hasattr(signal, name))


class Signals:
    """Records signals during training.

    The first SIGTERM or SIGINT is recorded; a second Ctrl-C interrupts at once. Other handlers of `REQUEUE` signals
    (Lightning saves and requeues SLURM jobs) are deferred to the end of the step.

    Attributes:
        received: name of the received signal, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}
        self._waiting: list[Callable[[], None]] = []

    def install(self) -> None:
        """Installs the handlers, in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in map(int, (signal.SIGINT, signal.SIGTERM)):
            self._before[number] = signal.signal(number, self._note)
        for number in REQUEUE:
            handler = signal.getsignal(number)
            if callable(handler):
                self._before[number] = signal.signal(number, self._defer)

    def restore(self) -> None:
        """Restores the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def run_deferred(self) -> None:
        """Runs deferred handlers."""
        while self._waiting:
            self._waiting.pop(0)()

    @property
    def waiting(self) -> bool:
        """Whether handlers are deferred."""
        return bool(self._waiting)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received == "SIGINT" == signal.Signals(number).name:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name

    def _defer(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        self._waiting.append(lambda: handler(number, None))


@contextmanager
def terminable() -> Iterator[None]:
    """Outside training, SIGTERM raises an exception like Ctrl-C, so that cleanup runs."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("SIGTERM", STATUS["SIGTERM"])

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
