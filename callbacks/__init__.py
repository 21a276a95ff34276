"""Lightning hooks, thin: when to act and what to log. One class a file."""

from callbacks.checkpoint import DurableCheckpointIO, RunCheckpoint
from callbacks.dashboard import Dashboard
from callbacks.guard import Guard
from callbacks.history import History
from callbacks.kept_merges import KeptMerges
from callbacks.logs import ContinuedLogs
from callbacks.manifest import Manifest
from callbacks.member_stopping import MemberStopping
from callbacks.merge import MergeCallback
from callbacks.progress import Progress
from callbacks.throughput import Throughput

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
