"""Lightning hooks, thin: when to act and what to log. One class a file.

The files lie in the folder ``callbacks`` at the repository's top level, and in a wheel inside the package. Their one
name is ``mu_lightning.callbacks.<module>``, wherever they lie.
"""

from mu_lightning.utilities.resources import shipped_folder

__path__ = [str(shipped_folder("callbacks"))]

from mu_lightning.callbacks.checkpoint import DurableCheckpointIO, RunCheckpoint
from mu_lightning.callbacks.dashboard import Dashboard
from mu_lightning.callbacks.guard import Guard
from mu_lightning.callbacks.history import History
from mu_lightning.callbacks.kept_merges import KeptMerges
from mu_lightning.callbacks.logs import ContinuedLogs
from mu_lightning.callbacks.manifest import Manifest
from mu_lightning.callbacks.member_stopping import MemberStopping
from mu_lightning.callbacks.merge import MergeCallback
from mu_lightning.callbacks.progress import Progress
from mu_lightning.callbacks.throughput import Throughput

__all__ = [
    "ContinuedLogs",
    "Dashboard",
    "DurableCheckpointIO",
    "Guard",
    "History",
    "KeptMerges",
    "Manifest",
    "MemberStopping",
    "MergeCallback",
    "Progress",
    "RunCheckpoint",
    "Throughput",
]
