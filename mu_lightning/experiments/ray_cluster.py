"""Connects to a Ray cluster: one that is there, or one of this machine alone, which the network does not see."""

import os
import socket
from ipaddress import ip_address
from typing import Any

from mu_lightning.utilities.errors import UserError

CONNECT_SECONDS = 5
# Ray's switch for clusters of several machines, which is off by default where a firewall would ask: without it
# everything listens on the loopback interface alone. Ray reads it when it is imported.
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def connect(address: str, max_workers: int | None = None) -> Any:
    """Connects to a cluster; returns the module ray.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local":
        os.environ.setdefault(_CLUSTERS, "0")
    try:
        import ray
    except ImportError as error:
        raise UserError("--ray needs the package ray: pip install 'mu-lightning[ray]'") from error
    if ray.is_initialized():
        return ray
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address not in ("auto", "local"):
        _check_reachable(address)
    try:
        if address == "local":
            _start(ray, {**options, "num_cpus": max_workers or len(os.sched_getaffinity(0))})
        else:
            ray.init(**options, address=address)
    except UserError:
        raise
    except Exception as error:  # Ray raises many kinds
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"no Ray cluster at '{address}' ({line}): start one with 'ray start --head', give its address, or use "
            "--ray local"
        ) from error
    return ray


def _check_reachable(address: str) -> None:
    """Fails at once where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--ray '{address}': expected auto, local, or an address such as 10.0.0.1:6379")
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS):
            return
    except OSError as error:
        raise UserError(
            f"no Ray cluster at '{address}' ({error}): check the address and that 'ray start --head' runs there, "
            "or use --ray local"
        ) from error


def _start(ray: Any, options: dict[str, Any]) -> None:
    """Starts a cluster on this machine that neither listens to the network nor looks for anything there.

    Ray's head asks the metadata services of clouds, over plain HTTP, where it runs: it is given a proxy that does not
    exist, which the workers do without.

    Raises:
        UserError: Ray was imported before it could be told to keep to this machine.
    """
    proxy = os.environ.get("http_proxy")
    os.environ["http_proxy"] = "http://127.0.0.1:9"
    try:
        ray.init(**options, include_dashboard=False, runtime_env={"env_vars": {"http_proxy": proxy or ""}})
    finally:
        if proxy is None:
            del os.environ["http_proxy"]
        else:
            os.environ["http_proxy"] = proxy
    if not ip_address(ray.util.get_node_ip_address()).is_loopback:
        ray.shutdown()
        raise UserError(f"--ray local: Ray would listen to the network: set {_CLUSTERS}=0 before Ray is imported")
