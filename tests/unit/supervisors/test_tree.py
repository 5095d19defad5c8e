"""The tree as data."""

from __future__ import annotations

import msgspec

from actors.vocabulary import Role, Settings
from actors.vocabulary.settings import PortSettings, SiteSettings, SparkplugSettings
from supervisors.roles import FACTORIES
from supervisors.runtime import StartOrder
from supervisors.spec import leaves, validate, walk
from supervisors.tree import port_refusals, root_tree, same_but_configuration, site_tree
from tests.ray.tree_for_tests import pump, site

_SETTINGS = Settings(data_dir="/nowhere")


def test_the_root_has_storage_platform_and_a_supervisor_per_site() -> None:
    """SUP-1, SUP-2: the tree of DESIGN, in start order."""
    tree = root_tree(_SETTINGS, (site(pump(1)),))
    validate(tree)
    assert [spec.address for spec in walk(tree)] == [
        "/",
        "/storage",
        "/platform",
        "/platform/discovery",
        "/platform/alarm",
        "/platform/api",
        "/sites",
        "/sites/north",
    ]


def test_a_site_has_its_gates_before_anything_that_decides() -> None:
    """SUP-1, SUP-2: endpoints, watchdog, then per station safety first, pumps last."""
    tree = site_tree(_SETTINGS, site(pump(1), pump(2)))
    validate(tree)
    assert [spec.address.removeprefix("/sites/north") for spec in walk(tree)] == [
        "",
        "/endpoints",
        "/endpoints/opcua",
        "/endpoints/modbus",
        "/watchdog",
        "/stations",
        "/stations/s1",
        "/stations/s1/safety",
        "/stations/s1/plan",
        "/stations/s1/station",
        "/stations/s1/pumps",
        "/stations/s1/pumps/p1",
        "/stations/s1/pumps/p2",
    ]
    assert {spec.role for spec in leaves(tree)} < set(FACTORIES)


def test_a_sparkplug_node_is_there_when_a_broker_is_configured() -> None:
    """SPB-1, SUP-1: off unless configured; with a host it is one more gate per site, before anything that decides."""
    settings = Settings(data_dir="/nowhere", sparkplug=SparkplugSettings(host="127.0.0.1"))
    tree = site_tree(settings, site(pump(1)))
    validate(tree)
    roles = [spec.role for spec in leaves(tree)]
    assert roles[:4] == [Role.OPCUA, Role.MODBUS, Role.SPARKPLUG, Role.WATCHDOG]
    assert Role.SPARKPLUG not in {spec.role for spec in leaves(site_tree(_SETTINGS, site(pump(1))))}


def test_start_orders_survive_the_way() -> None:
    """SUP-6: what starts a worker crosses processes by pickle and by msgspec."""
    import pickle

    for spec in leaves(site_tree(_SETTINGS, site(pump(1)))):
        order = StartOrder(start=spec.start)
        assert pickle.loads(pickle.dumps(order)) == order
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=StartOrder) == order


def test_a_changed_pump_name_needs_no_restart_a_changed_port_does() -> None:
    """DAT-4: a configuration travels as a message; what cannot travel is no mere configuration."""
    (old, *_), (new, *_) = (
        leaves(site_tree(_SETTINGS, site(pump(1)))),
        leaves(site_tree(_SETTINGS, site(msgspec.structs.replace(pump(1), name="New")))),
    )
    assert old != new
    assert same_but_configuration(old, new)
    other = msgspec.structs.replace(_SETTINGS, ports=PortSettings(opcua=4999))
    assert not same_but_configuration(old, leaves(site_tree(other, site(pump(1))))[0])


def test_ports_go_to_whoever_has_them() -> None:
    """SUP-5: a second site on the same ports is refused by name; explicit ports that clash are refused too."""
    assert set(port_refusals(_SETTINGS, ["a", "b"], holder=None)) == {"b"}
    assert set(port_refusals(_SETTINGS, ["a", "b"], holder="b")) == {"a"}
    own = SiteSettings(ports=PortSettings(opcua=1, modbus=2))
    settings = msgspec.structs.replace(_SETTINGS, sites={"b": own})
    assert port_refusals(settings, ["a", "b"], holder=None) == {}
    settings = msgspec.structs.replace(_SETTINGS, sites={"b": own, "c": own})
    assert list(port_refusals(settings, ["a", "b", "c"], holder=None)) == ["c"]


def test_every_role_has_a_factory() -> None:
    """SUP-1: nothing of the tree is without a class."""
    assert set(FACTORIES) == set(Role)
