"""SIGTERM and Ctrl-C in the middle of training: noted at once, acted on at the end of the step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mu_lightning.utilities.errors import Interrupted

STATUS = {"SIGINT": 130, "SIGTERM": 143}
# With one of these SLURM announces the end of a job: sbatch's --signal says which.
REQUEUE = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGHUP") if hasattr(signal, name))


class Signals:
    """Notes signals while a trainer fits.

    The first SIGTERM or SIGINT is only noted; a second Ctrl-C interrupts at once. What another handler does on one of
    `REQUEUE` (Lightning saves and requeues a SLURM job, wherever in a step the signal arrives) waits for the end of the
    step too.

    Attributes:
        received: the name of the signal that asks to end, None so far.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, Any] = {}
        self._waiting: list[Callable[[], None]] = []

    def install(self) -> None:
        """Takes over from the handlers that are installed; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in map(int, (signal.SIGINT, signal.SIGTERM)):
            self._before[number] = signal.signal(number, self._note)
        for number in REQUEUE:
            handler = signal.getsignal(number)
            if callable(handler):
                self._before[number] = signal.signal(number, self._defer)

    def restore(self) -> None:
        """Gives the signals back to the handlers that had them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def run_deferred(self) -> None:
        """Runs what waited for the end of a step."""
        while self._waiting:
            self._waiting.pop(0)()

    @property
    def waiting(self) -> bool:
        """Whether something waits for the end of the step."""
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
    """Where no trainer fits, SIGTERM ends the work as Ctrl-C does: by an exception that cleans up behind itself."""

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
