"""Lightning callbacks, one class per file.

The files are in the folder ``callbacks`` at the top level of the repository, and inside the package in a wheel. Their
module name is ``mu_lightning.callbacks.<module>`` in both cases.
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
