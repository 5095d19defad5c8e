"""What `wire check` asks of the OPC UA endpoint: nodes, types, access, refusals, what it offers whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from asyncua import ua

from ops.kit.clients import OpcUaWire, Refused
from ops.kit.report import Finding, Subject, is_loopback

_WRITE_REFUSALS: Final = ("BadNotWritable", "BadUserAccessDenied", "BadWriteNotSupported")
_WRITE_BIT: Final = 0x02


async def nodes(subject: Subject, wire: OpcUaWire) -> AsyncIterator[Finding]:
    """Every node is there with its type and access, and no other variable."""
    tags = [tag for tag in subject.tags if tag.node_id]
    node_ids = [tag.node_id for tag in tags]
    values = await wire.attributes(node_ids, ua.AttributeIds.Value)
    types = await wire.attributes(node_ids, ua.AttributeIds.DataType)
    access = await wire.attributes(node_ids, ua.AttributeIds.UserAccessLevel)
    faults = []
    for tag, value, kind, level in zip(tags, values, types, access, strict=True):
        wanted = ua.NodeId.from_string(f"i={getattr(ua.ObjectIds, tag.type)}")
        declared, rights = (None if data.Value is None else data.Value.Value for data in (kind, level))
        writable = bool((rights or 0) & _WRITE_BIT)
        if value.Value is None or value.Value.Value is None or declared is None:
            faults.append(f"{tag.node_id}: {value.StatusCode.name if value.StatusCode else 'no value'}")
        elif declared != wanted or value.Value.VariantType is not getattr(ua.VariantType, tag.type):
            faults.append(f"{tag.node_id}: {value.Value.VariantType.name}, the map says {tag.type}")
        elif writable and not tag.writable:
            faults.append(f"{tag.node_id}: writable, the map says {tag.access}")
    site_id = subject.site_id
    yield subject.finding("opcua nodes have type and access", site_id, faults, f"{len(node_ids)} nodes")
    if subject.whole:
        root = f"{node_ids[0].partition('=/')[0]}=/{site_id}"
        browsed = set(await wire.variables_below(root))
        faults = [f"{each}: on the map, not found by browsing" for each in sorted(set(node_ids) - browsed)]
        faults += [f"{each}: found by browsing, not on the map" for each in sorted(browsed - set(node_ids))]
        yield subject.finding(
            "opcua nodes are the map's", site_id, faults, f"{len(browsed)} variables below {root}"
        )
    stops = [tag for tag in subject.tags if tag.point == "emergency_stop"]
    shown = await wire.read(stops)
    faults = [tag.node_id for tag in stops if not isinstance(shown[tag.path].value, bool)]
    faults += [] if stops else ["none"]
    yield subject.finding("emergency stop nodes", site_id, faults, f"{len(stops)} Boolean nodes")


async def read_only(subject: Subject, wire: OpcUaWire) -> AsyncIterator[Finding]:
    """Writes that no version may take are refused, and with a fitting status."""
    for owner, points in subject.pumps.items():
        tag = points["epoch"]
        shown = (await wire.read([tag]))[tag.path]
        faults: list[str] = []
        try:
            await wire.write(tag, {"value": shown.value, "type": tag.type})
            faults = [f"{tag.node_id}: accepted, expected a refusal"]
        except Refused as error:
            if error.code not in _WRITE_REFUSALS:
                faults = [f"{tag.node_id}: {error.code}, expected {_WRITE_REFUSALS[0]}"]
        yield subject.finding("opcua refuses writes to read-only", owner, faults, _WRITE_REFUSALS[0])


async def security(subject: Subject, wire: OpcUaWire) -> AsyncIterator[Finding]:
    """Without encryption and without a name only where nobody but this machine can come."""
    offered = await wire.endpoints()
    listed = ", ".join(f"{policy} {mode} ({'/'.join(tokens)})" for policy, mode, tokens in offered)
    open_ones = [each for each in offered if each[0] == "None" or "Anonymous" in each[2]]
    host = wire.where.removeprefix("opc.tcp://").rpartition(":")[0].strip("[]")
    if not open_ones:
        yield subject.finding("opcua security", wire.where, "", listed)
    elif is_loopback(host):
        detail = f"{listed}: no encryption or no user; allowed because only this machine reaches {host}"
        yield subject.note("opcua security", wire.where, detail)
    else:
        yield subject.finding("opcua security", wire.where, f"{listed} on {host}, which others reach")
