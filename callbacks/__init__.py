"""Lightning hooks, thin: when to act and what to log. One class a file."""

from callbacks.dashboard import Dashboard
from callbacks.manifest import Manifest
from callbacks.merge import MergeCallback

__all__ = ["Dashboard", "Manifest", "MergeCallback"]
