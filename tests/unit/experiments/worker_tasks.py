"""Tasks that say what their worker did, in a module that workers can import too."""

import mmap
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mu_lightning.approaches.tasks import Resources


class Ran(NamedTuple):
    """When a task ran, in which process, with how many threads and on which device."""

    began: float
    ended: float
    process: int
    threads: int
    device: str


@dataclass(frozen=True)
class Sleep:
    """Sleeps until a file is there or the time is over, and says where."""

    name: str
    resources: Resources = field(default_factory=Resources)
    seconds: float = 0.3
    until: Path | None = None

    def run(self, bench: Any) -> Ran:
        began = time.time()
        while time.time() - began < self.seconds and not (self.until and self.until.exists()):
            time.sleep(0.01)
        return Ran(began, time.time(), os.getpid(), torch.get_num_threads(), bench.device)


@dataclass(frozen=True)
class Touch:
    """Makes a file."""

    path: Path
    name: str = "touch"
    resources: Resources = field(default_factory=Resources)

    def run(self, bench: Any) -> None:
        self.path.touch()


@dataclass(frozen=True)
class CutFile:
    """Reads a mapped file that loses its content meanwhile."""

    path: Path
    name: str = "cut"
    resources: Resources = field(default_factory=Resources)

    def run(self, bench: Any) -> int:
        self.path.write_bytes(bytes(1 << 16))
        with self.path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            file.truncate(0)
            return mapped[-1]


@dataclass(frozen=True)
class Unpicklable:
    """Gives back what cannot be sent."""

    name: str = "unpicklable"
    resources: Resources = field(default_factory=Resources)

    def run(self, bench: Any) -> Any:
        return lambda: None
