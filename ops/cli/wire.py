"""`calejo wire watch` and `calejo wire check`: the endpoints of the running Calejo as clients see them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from ops.cli.client import running
from ops.cli.coils import port_holder, unserved
from ops.cli.exits import DONE, FAILED, ExitError
from ops.cli.settings_of import data_dir_of
from ops.cli.tags import as_tags, every_row, narrowed
from ops.rundir import SitePorts, url_host

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ops.kit.tags import Tag
    from ops.kit.watch import Endpoint


def watch(arguments: argparse.Namespace) -> int:
    """Show live values until `--for` is over or somebody presses Ctrl-C.

    Raises:
        ExitError: (1) no endpoint serves what was chosen; else as `ops.cli.tags.every_row`.

    """
    from ops.kit.watch import Screen, printer, utc_now
    from ops.kit.watch import watch as looking

    sites = [(endpoint, own) for endpoint, own in _chosen(arguments) if not endpoint.dark]
    if not sites:
        raise ExitError(FAILED, "no endpoint serves this site: see `calejo alarms`")
    on_screen = arguments.format == "table" and sys.stdout.isatty()
    with Screen(sys.stdout) if on_screen else contextlib.nullcontext() as screen:
        show = printer(arguments.format, detail=arguments.pump_id is not None, screen=screen)
        asyncio.run(looking(sites, show=show, every_s=arguments.every_s, for_s=arguments.for_s, utc=utc_now))
    return DONE


def check(arguments: argparse.Namespace) -> int:
    """Check every endpoint of what was chosen and print the report; 1 if anything failed.

    Raises:
        ExitError: as `ops.cli.tags.every_row`.

    """
    from ops.kit.check import check_site, dark_site
    from ops.kit.report import failed, show_report

    findings = []
    for endpoint, own in _chosen(arguments):
        if endpoint.dark:
            findings.append(dark_site(endpoint))
            continue
        whole = arguments.station_id is None and arguments.pump_id is None
        findings += asyncio.run(check_site(endpoint, own, whole=whole, without_plc=arguments.without_plc))
    show_report(findings, form=arguments.format)
    return FAILED if failed(findings) else DONE


def _chosen(arguments: argparse.Namespace) -> list[tuple[Endpoint, list[Tag]]]:
    """Return each site that was chosen, with where it is served and its chosen tags.

    Raises:
        ExitError: (2) nothing is left; (3) none is running there; else as `ops.cli.tags.every_row`.

    """
    data_dir = data_dir_of(arguments)
    rows = every_row(arguments)
    tags = as_tags(narrowed(rows, arguments))
    # All sites: who is served at the common ports depends on those as well that nobody asked about.
    where = endpoints(data_dir, list(dict.fromkeys(row["site_id"] for row in rows)))
    by_site: dict[str, list[Tag]] = {}
    for tag in tags:
        by_site.setdefault(tag.site_id, []).append(tag)
    return [(where[site_id], own) for site_id, own in by_site.items()]


def endpoints(data_dir: Path, site_ids: Sequence[str]) -> dict[str, Endpoint]:
    """Return where each of all sites is served, by what the run announced.

    Raises:
        ExitError: (3) none is running there.

    """
    from ops.kit.watch import Endpoint
    from ops.modbus_access import tls_papers_of
    from ops.opcua_access import papers_of

    run = running(data_dir)
    dark = unserved(site_ids, run, port_holder(data_dir))
    host, _, port = run.modbus.rpartition(":")
    papers, tls_papers = papers_of(data_dir), tls_papers_of(data_dir, run.modbus_certificate)
    found = {}
    for site_id in site_ids:
        own: SitePorts | None = run.site_ports.get(site_id)
        found[site_id] = Endpoint(
            site_id=site_id,
            modbus_host=(own.modbus_host or own.host) if own else host.strip("[]"),
            modbus_port=own.modbus if own else int(port),
            opcua_url=f"opc.tcp://{url_host(own.opcua_host or own.host)}:{own.opcua}" if own else run.opcua,
            papers=papers,
            modbus_plain=run.modbus_plain,
            modbus_tls_port=own.modbus_tls if own else run.modbus_tls,
            modbus_papers=tls_papers,
            dark=dark.get(site_id, ""),
            modbus_listens=own.modbus_listens if own else run.modbus_listens,
        )
    return found
