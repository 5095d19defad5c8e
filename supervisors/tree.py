"""The tree as data: settings and topology become specs, in start order (DESIGN, "Addresses and lives")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from actors.start import WorkerStart
from actors.vocabulary import Address, PumpConfig, Role, Settings, SiteConfig, StationConfig
from actors.vocabulary.ids import (
    ALARM,
    API,
    DISCOVERY,
    ROOT,
    STORAGE,
    endpoint_address,
    pump_address,
    site_address,
    station_part_address,
    watchdog_address,
)
from actors.vocabulary.settings import PortSettings, protocols_of
from supervisors.spec import ChildSpec, GroupSpec, Strategy, leaves

PLATFORM: Final = Address("/platform")
SITES: Final = Address("/sites")
GATES: Final = frozenset({Role.OPCUA, Role.MODBUS, Role.SPARKPLUG})
# News of up to a thousand children must find room.
_SUPERVISOR_MAILBOX: Final = 4096
_ENDPOINT_START_S: Final = 30.0
_SUPERVISOR_SHUTDOWN_S: Final = 8.0


def ports_of(settings: Settings, site_id: str) -> PortSettings:
    """Return where a site's endpoints listen: its own ports or the common ones."""
    own = settings.sites.get(site_id)
    return settings.ports if own is None or own.ports is None else own.ports


def port_refusals(settings: Settings, site_ids: Sequence[str], *, holder: str | None) -> dict[str, str]:
    """Return the sites that cannot be served on this machine, each with the reason.

    Only one site can have a port. Who has it keeps it: `holder` is the site that has the common ports already, so a
    new site whose id sorts earlier does not take them away.
    """
    refusals: dict[str, str] = {}
    taken: dict[int, str] = {}
    for site_id in sorted(site_ids, key=lambda each: (not _has_own(settings, each), each != holder, each)):
        ports = ports_of(settings, site_id)
        own = (ports.opcua, ports.modbus, *((ports.modbus_tls,) if settings.modbus.tls else ()))
        clash = next((port for port in own if port in taken), None)
        if clash is None:
            taken |= dict.fromkeys(own, site_id)
        else:
            refusals[site_id] = (
                f"port {clash} serves site {taken[clash]}: this site needs sites.{site_id}.ports"
            )
    return refusals


def _has_own(settings: Settings, site_id: str) -> bool:
    own = settings.sites.get(site_id)
    return own is not None and own.ports is not None


def root_tree(settings: Settings, sites: Sequence[SiteConfig], *, holder: str | None = None) -> GroupSpec:
    """Return the root's tree: storage, the platform, and one supervisor per site."""
    refusals = port_refusals(settings, [site.site_id for site in sites], holder=holder)
    platform = (
        _platform_child(settings, Role.DISCOVERY, DISCOVERY),
        _platform_child(settings, Role.ALARM, ALARM),
        _platform_child(settings, Role.API, API),
    )
    supervisors = tuple(
        ChildSpec(
            start=WorkerStart(
                role=Role.SUPERVISOR, address=site_address(site.site_id), settings=settings, site=site
            ),
            mailbox_bound=_SUPERVISOR_MAILBOX,
            shutdown_s=_SUPERVISOR_SHUTDOWN_S,
            start_failures_max=None,
            refused=refusals.get(site.site_id, ""),
        )
        for site in sites
    )
    return GroupSpec(
        address=ROOT,
        children=(
            _platform_child(settings, Role.STORAGE, STORAGE),
            GroupSpec(address=PLATFORM, children=platform),
            GroupSpec(address=SITES, strategy=Strategy.DYNAMIC, children=supervisors),
        ),
    )


def _platform_child(settings: Settings, role: Role, address: Address) -> ChildSpec:
    # What the platform lacks at its start (a database, a port) comes back some day: it is tried for ever.
    start = WorkerStart(role=role, address=address, settings=settings)
    return ChildSpec(start=start, start_failures_max=None, mailbox_bound=1024)


def site_tree(settings: Settings, site: SiteConfig) -> GroupSpec:
    """Return a site supervisor's tree: endpoints first, so that gates stand before anything is decided."""
    here = site_address(site.site_id)
    endpoints = tuple(
        ChildSpec(
            start=WorkerStart(
                role=role, address=endpoint_address(site.site_id, role.value), settings=settings, site=site
            ),
            start_failures_max=None,
            start_deadline_s=_ENDPOINT_START_S,
        )
        for role in (Role(protocol) for protocol in protocols_of(settings))
    )
    assert {child.role for child in endpoints} <= GATES
    watchdog = WorkerStart(
        role=Role.WATCHDOG, address=watchdog_address(site.site_id), settings=settings, site=site
    )
    return GroupSpec(
        address=here,
        children=(
            GroupSpec(address=Address(f"{here}/endpoints"), children=endpoints),
            ChildSpec(start=watchdog, start_failures_max=None),
            GroupSpec(
                address=Address(f"{here}/stations"),
                strategy=Strategy.DYNAMIC,
                children=tuple(_station_group(settings, site, station) for station in site.stations),
            ),
        ),
    )


def _station_group(settings: Settings, site: SiteConfig, station: StationConfig) -> GroupSpec:
    here = Address(f"{site_address(site.site_id)}/stations/{station.station_id}")
    only = site.only(station.station_id)
    parts = tuple(
        ChildSpec(
            start=WorkerStart(
                role=role,
                address=station_part_address(site.site_id, station.station_id, role.value),
                settings=settings,
                site=only,
                station_id=station.station_id,
            )
        )
        for role in (Role.SAFETY, Role.PLAN, Role.STATION)
    )
    pumps = tuple(_pump(settings, only, station, pump) for pump in station.pumps)
    group = GroupSpec(address=Address(f"{here}/pumps"), strategy=Strategy.DYNAMIC, children=pumps)
    return GroupSpec(address=here, children=(*parts, group))


def _pump(settings: Settings, site: SiteConfig, station: StationConfig, pump: PumpConfig) -> ChildSpec:
    start = WorkerStart(
        role=Role.PUMP,
        address=pump_address(site.site_id, station.station_id, pump.pump_id),
        settings=settings,
        site=site,
        station_id=station.station_id,
        pump_id=pump.pump_id,
    )
    return ChildSpec(start=start)


def tree_below(spec: ChildSpec) -> GroupSpec | None:
    """Return the tree of a site supervisor as its parent can know it; None for any other process."""
    if spec.role is not Role.SUPERVISOR or spec.start.site is None:
        return None
    return site_tree(spec.start.settings, spec.start.site)


def stop_blocks(spec: ChildSpec, living: Sequence[Address]) -> tuple[tuple[Address, ...], ...]:
    """Return `living` below a site supervisor in the order in which to end it: what decides first, the gates last.

    Those of one block need not wait for each other; whoever has no place in the tree goes with the first.
    """
    tree = tree_below(spec)
    gates = {leaf.address for leaf in leaves(tree) if leaf.role in GATES} if tree is not None else set()
    blocks = (
        tuple(each for each in living if each not in gates),
        tuple(each for each in living if each in gates),
    )
    return tuple(block for block in blocks if block)


def same_but_configuration(old: ChildSpec, new: ChildSpec) -> bool:
    """Whether `new` differs from `old` in nothing but the site's configuration (a `Configure` is enough)."""
    neutral = msgspec.structs.replace(new.start, site=old.start.site)
    return msgspec.structs.replace(new, start=neutral) == old
