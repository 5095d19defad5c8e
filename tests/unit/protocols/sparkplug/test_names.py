"""Names of the edge node, its devices and metrics: stable, unique, and fit for MQTT."""

from __future__ import annotations

import msgspec
import pytest

from actors.vocabulary import Quality, SiteConfig
from protocols.sparkplug.names import (
    ANSWERS,
    NODE,
    Node,
    Verb,
    definitions,
    quality_code,
    sparkplug_points,
)
from protocols.sparkplug.schema import by_key
from tests.unit.protocols.plants import north


def site_without(pump_id: str) -> SiteConfig:
    site = north()
    stations = tuple(
        msgspec.structs.replace(
            station, pumps=tuple(pump for pump in station.pumps if pump.pump_id != pump_id)
        )
        for station in site.stations
    )
    return msgspec.structs.replace(site, stations=stations)


def test_a_pump_more_or_less_changes_no_other_name() -> None:
    """SPB-1: definitions of what stays are equal, so their devices are not born again."""
    whole, less = definitions(sparkplug_points(north())), definitions(sparkplug_points(site_without("p1")))
    assert {path: each for path, each in whole.items() if each.device != "s1.p1"} == less
    assert {each.device for each in whole.values()} - {each.device for each in less.values()} == {"s1.p1"}


def test_names_are_unique_and_every_device_answers() -> None:
    """SPB-1: no device has a name twice, none is equal but for case, and each has the answer metrics."""
    metrics = definitions(sparkplug_points(north())).values()
    names = [(each.device, each.name) for each in metrics]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() and device == device.lower() for device, name in names)
    for device in {each.device for each in metrics}:
        assert set(ANSWERS) <= {each.name for each in metrics if each.device == device}


def test_only_commands_may_be_written() -> None:
    """SPB-1: feedback is for field protocols; a host on a broker is no PLC."""
    writable = {
        (each.device, each.name) for each in definitions(sparkplug_points(north())).values() if each.writable
    }
    pumps = {(f"s1.{pump}", name) for pump in ("p1", "p2")
             for name in ("setpoint_request", "mode_request", "emergency_stop")}  # fmt: skip
    assert pumps <= writable
    assert {name for _, name in writable} == {
        "setpoint_request", "mode_request", "emergency_stop", "scada_heartbeat"
    }  # fmt: skip
    assert (NODE, "emergency_stop") in writable


def test_a_setpoint_has_unit_and_range() -> None:
    """SPB-1: engineering unit and range are properties, taken from the pump's own limits."""
    found = definitions(sparkplug_points(north()))["/north/s1/p1/setpoint"]
    told = by_key(found.properties)
    assert told["engUnit"] == "Hz"
    assert told["engLow"] == 0.0
    assert told["readOnly"] is True


def test_topics() -> None:
    """SPB-1: namespace, group, verb, node and, for device messages only, the device."""
    node = Node("calejo", "north")
    assert node.topic(Verb.NBIRTH) == "spBv1.0/calejo/NBIRTH/north"
    assert node.topic(Verb.DDATA, "s1.p1") == "spBv1.0/calejo/DDATA/north/s1.p1"
    assert node.commanded("spBv1.0/calejo/NCMD/north") == NODE
    assert node.commanded("spBv1.0/calejo/DCMD/north/s1.p1") == "s1.p1"


@pytest.mark.parametrize(
    "topic",
    ["spBv1.0/calejo/NCMD/south", "spBv1.0/other/NCMD/north", "spAv1.0/calejo/NCMD/north",
     "spBv1.0/calejo/NCMD/north/s1", "spBv1.0/calejo/DCMD/north", "spBv1.0/calejo/DCMD/north/",
     "spBv1.0/calejo/DCMD/north/a/b", "spBv1.0/calejo/DDATA/north/s1", ""],
)  # fmt: skip
def test_what_is_no_command_of_ours(topic: str) -> None:
    """SPB-1: another node's, another verb's, another form's."""
    assert Node("calejo", "north").commanded(topic) is None


def test_uncertain_is_not_called_good() -> None:
    """SPB-1: the specification has three quality codes; ours without one of its own is shown as not current."""
    assert [quality_code(each) for each in (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD)] == [192, 500, 0]
