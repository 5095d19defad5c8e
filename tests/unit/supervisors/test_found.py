"""Who lives already: goal: a large site's children are all asked, a bounded number at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.vocabulary import Address
from actors.vocabulary.ids import ROOT
from supervisors import found
from supervisors.found import find, is_orphan
from supervisors.spec import leaves
from supervisors.tree import root_tree, site_tree
from tests.ray.tree_for_tests import pump, site
from tests.unit.supervisors.worlds import PLANT, PUMP_1, SETTINGS, SITE

LARGE = {spec.address: spec for spec in leaves(site_tree(SETTINGS, site(*(pump(n) for n in range(1, 301)))))}


class Crowd:
    """A runtime in which all but one live; answers take a moment."""

    def __init__(self, silent: Address) -> None:
        self.silent = silent
        self.asked = 0
        self.most = 0

    async def living(self) -> list[Address]:
        return [*LARGE, Address("/elsewhere")]

    async def adopt(self, address: Address, *, deadline_s: float) -> object:
        self.asked += 1
        self.most = max(self.most, self.asked)
        await asyncio.sleep(0.001)
        self.asked -= 1
        return None if address == self.silent else (address, "stats")


def test_all_are_asked_a_bounded_number_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUP-4: in start order, with one that is silent told apart, never more than the bound at once."""
    monkeypatch.setattr(found, "_AT_A_TIME", 7)
    crowd: Any = Crowd(PUMP_1)
    answers = asyncio.run(find(crowd, LARGE))
    assert [spec.address for spec, _ in answers] == list(LARGE)
    assert [spec.address for spec, answer in answers if answer is None] == [PUMP_1]
    assert crowd.most == 7


def test_who_has_no_place() -> None:
    """SUP-4: below a site supervisor of ours it is that one's matter; without a topology no site is ours to end."""
    specs = {spec.address: spec for spec in leaves(root_tree(SETTINGS, (PLANT,)))}

    def orphan(address: str, *, below: Address = ROOT, sites_known: bool = True) -> bool:
        own = specs if below == ROOT else LARGE
        return is_orphan(Address(address), below=below, specs=own, sites_known=sites_known)

    assert orphan("/platform/gone")
    assert orphan("/sites/south/watchdog")
    assert not orphan("/sites/south/watchdog", sites_known=False)
    assert not orphan(f"{SITE}/stations/gone/safety")
    assert orphan(f"{SITE}/stations/gone/safety", below=SITE)
    assert not orphan("/sites/northern/watchdog", below=SITE)
    assert not orphan(PUMP_1, below=SITE)
    assert not orphan("/")
    assert not orphan("/storage")
