"""Liveness, readiness, detail and metrics on their own port (API-3)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from litestar import Response, get
from litestar.datastructures import State

from actors.messages import EndpointStatus, TreeNode
from actors.vocabulary import DeviceError, Role, UnavailableError
from api.metrics import exposition
from api.service import Service

_COMING: Final = frozenset({"starting", "restarting"})
_NOT_READY: Final = 503


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether every part serves, and what is missing."""

    ready: bool
    missing: list[str]


@get("/health/live", sync_to_thread=False)
def live(state: State) -> dict[str, str]:
    """Answer while this process lives, and say whose it is: runs on one machine differ by their data directory."""
    return {"status": "live", "data_dir": _service(state).data_dir}


@get("/health/ready")
async def ready(state: State) -> Response[Readiness]:
    """Answer 200 when the tree is up and every endpoint serves, else 503 with what is missing."""
    readiness = judge(*await _look(_service(state)))
    return Response(readiness, status_code=200 if readiness.ready else _NOT_READY)


@get("/health/detail")
async def detail(state: State) -> dict[str, Any]:
    """Show readiness with storage, discovery and each endpoint."""
    service = _service(state)
    nodes, endpoints, silent = await _look(service)
    readiness = judge(nodes, endpoints, silent)
    try:
        storage: Any = msgspec.to_builtins(await service.sources.storage())
    except UnavailableError as error:
        storage = {"unavailable": str(error)}
    return {
        "ready": readiness.ready,
        "missing": readiness.missing,
        "storage": storage,
        "endpoints": {
            name: status
            if isinstance(status, str)
            else {
                "bound": status.bound,
                "clients": status.clients,
                "proposal_to_wire": msgspec.to_builtins(status.proposal_to_wire),
                "link": msgspec.to_builtins(status.link),
            }
            for name, status in endpoints.items()
        },
        "actors": {node.address: node.state for node in nodes},
    }


@get("/metrics", media_type="text/plain; version=0.0.4")
async def metrics(state: State) -> Response[bytes]:
    """Show what Prometheus scrapes."""
    service = _service(state)
    nodes, endpoints, silent = await _look(service)
    try:
        storage = await service.sources.storage()
    except UnavailableError:
        storage = None
    body = exposition(
        nodes=nodes,
        endpoints=endpoints,
        storage=storage,
        ready=judge(nodes, endpoints, silent).ready,
        security=service.access.desk.log.counts,
        days_left=service.access.certificates.days_left,
        answers=service.counted.by_status,
        streams=len(service.watching.places),
    )
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


def judge(
    nodes: tuple[TreeNode, ...], endpoints: dict[str, EndpointStatus | str], silent: list[str]
) -> Readiness:
    """Say what is missing for service: actors that are coming, endpoints without a port, silent parts."""
    missing = list(silent)
    missing += [f"{node.address} is {node.state}" for node in nodes if node.state in _COMING]
    for name, status in endpoints.items():
        if isinstance(status, str):
            missing.append(f"{name}: {status}")
        elif not status.bound and status.link is not None and not status.link.session:
            # A broker or host that is away is told, but no reason to send nobody here: the plant is controlled.
            continue
        elif not status.bound:
            why = next((node.last_error for node in nodes if node.address == name), "")
            missing.append(f"{name} has no port yet" + (f" ({why})" if why else ""))
    if not silent and not any(node.role is Role.SAFETY for node in nodes):
        missing.append("no station is controlled yet")
    return Readiness(ready=not missing, missing=missing)


async def _look(service: Service) -> tuple[tuple[TreeNode, ...], dict[str, EndpointStatus | str], list[str]]:
    silent: list[str] = []
    nodes: tuple[TreeNode, ...] = ()
    endpoints: dict[str, EndpointStatus | str] = {}
    tree, topology = await asyncio.gather(
        service.sources.tree(), service.sources.topology(), return_exceptions=True
    )
    if isinstance(tree, DeviceError):
        silent.append(f"root: {tree}")
    elif isinstance(tree, BaseException):
        raise tree
    else:
        nodes = tree
    if isinstance(topology, DeviceError):
        silent.append(f"discovery: {topology}")
    elif isinstance(topology, BaseException):
        raise topology
    else:
        # A site that is quarantined (say, without ports of its own) has no endpoints to wait for.
        down = {node.address for node in nodes if node.state == "quarantined"}
        up = [site for site in topology.sites if f"/sites/{site.site_id}" not in down]
        for answers in await asyncio.gather(*(service.sources.endpoints(site) for site in up)):
            endpoints.update(answers)
    return nodes, endpoints, silent


def _service(state: State) -> Service:
    service = state["service"]
    assert isinstance(service, Service)
    return service


HEALTH_HANDLERS: Final = [live, ready, detail, metrics]
