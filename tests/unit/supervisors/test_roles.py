"""Every role's class comes up from its real adapters without touching anything."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors.messages import Epoch
from actors.runtime import Actor, Ports
from actors.start import WorkerStart
from actors.vocabulary import Role, Settings
from actors.vocabulary.settings import SparkplugSettings
from supervisors import roles
from supervisors.runtime import Runtime, StartOrder
from supervisors.simulated.runtime import SimRuntime, simulate
from supervisors.spec import ChildSpec, leaves
from supervisors.tree import root_tree, site_tree
from tests.ray.tree_for_tests import pump, site

_SITE = site(pump(1))
_SPARKPLUG = SparkplugSettings(host="127.0.0.1")
_NOWHERE = Settings(data_dir="/nowhere", sparkplug=_SPARKPLUG)
_SPECS = (*leaves(root_tree(_NOWHERE, (_SITE,))), *leaves(site_tree(_NOWHERE, _SITE)))


class _Made:
    """Stands where the role's actor was made, so that its `start()` is not called."""

    def __init__(self, made: Actor) -> None:
        self.made = made

    async def handle(self, message: object) -> object:
        return message


def _make(ports: Ports, start: WorkerStart, runtime: Runtime) -> Actor:
    return _Made(roles.make(ports, start, runtime))


@pytest.mark.parametrize("spec", _SPECS, ids=lambda spec: str(spec.role))
def test_a_role_is_made_from_real_adapters(spec: ChildSpec, tmp_path: Path) -> None:
    """SUP-1: the composition fits the constructors, and constructors do no I/O."""
    settings = Settings(data_dir=str(tmp_path), sparkplug=_SPARKPLUG)
    epoch = Epoch(0, 1) if spec.role is Role.SAFETY else None
    start = msgspec.structs.replace(spec.start, settings=settings, epoch=epoch)

    async def scenario(world: SimRuntime) -> str:
        await world.start(StartOrder(start=start), deadline_s=5.0)
        return type(world.hosted(start.address).made).__name__

    name = simulate(1, _make, scenario)
    assert name == "Supervisor" or name.endswith("Actor")
    assert not list(tmp_path.iterdir())
