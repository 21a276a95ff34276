"""How worker processes start: forked from a server that has only imported what they need, or anew where there is none.

They start at once and share what was imported. The server has computed nothing and runs no threads. Nothing here
imports torch, so that a command can start the server before it imports torch itself.
"""

import multiprocessing
from multiprocessing.context import BaseContext

SERVER = "forkserver"
PRELOADED = "mu_lightning.experiments.worker_imports"


def process_context() -> BaseContext:
    """What worker processes are started with."""
    if SERVER not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context(SERVER)
    context.set_forkserver_preload([PRELOADED])
    return context


def start_server() -> None:
    """Starts the server, which imports beside this process; does nothing where there is none, or one runs already."""
    from multiprocessing import forkserver

    if process_context().get_start_method() == SERVER:
        forkserver.ensure_running()
