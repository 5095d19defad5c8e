"""Prometheus text from what the actors answered in one look: nothing is kept between scrapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from actors.messages import EndpointStatus, StorageStatus, TreeNode

_STATES: Final = ("starting", "running", "restarting", "quarantined", "stopped")
_ACTOR: Final = ("address", "role")
_PUMP: Final = ("endpoint", "pump")


def exposition(
    *,
    nodes: tuple[TreeNode, ...],
    endpoints: dict[str, EndpointStatus | str],
    storage: StorageStatus | None,
    ready: bool,
    security: Mapping[tuple[str, str], int] = MappingProxyType({}),
    days_left: Mapping[str, float] = MappingProxyType({}),
    answers: Mapping[int, int] = MappingProxyType({}),
    streams: int = 0,
) -> bytes:
    """Return the exposition; parts that did not answer are absent, so that an alert on absence can see it."""
    metrics = [_gauge("calejo_ready", "1 when every part serves", (), [((), ready)])]
    metrics += _tree(list({node.address: node for node in nodes}.values()))
    metrics += _wire(endpoints)
    metrics += _links(endpoints)
    if storage is not None:
        metrics += _storage(storage)
    metrics += _access(security, days_left)
    metrics += _rest(answers, streams)
    registry = CollectorRegistry()
    registry.register(_Look([metric for metric in metrics if metric.samples]))
    return generate_latest(registry)


class _Look(Collector):
    """One look, as Prometheus' library wants it."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


_Rows = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, text: str, labels: Sequence[str], rows: _Rows) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in rows:
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: Sequence[str], rows: _Rows) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in rows:
        family.add_metric(key, value)
    return family


def _tree(nodes: Sequence[TreeNode]) -> Iterator[Metric]:
    keyed = [((node.address, node.role.value), node) for node in nodes]
    yield _gauge(
        "calejo_actor_state",
        "1 for the state the actor is in",
        (*_ACTOR, "state"),
        [((*key, state), node.state == state) for key, node in keyed for state in _STATES],
    )
    yield _counter(
        "calejo_actor_restarts",
        "Restarts since the supervisor started",
        _ACTOR,
        [(key, node.restarts) for key, node in keyed],
    )
    yield _counter(
        "calejo_actor_lost_tells",
        "Messages refused or lost",
        _ACTOR,
        [(key, node.lost_tells) for key, node in keyed],
    )
    yield _gauge(
        "calejo_actor_mailbox_depth",
        "Messages waiting",
        _ACTOR,
        [(key, node.mailbox_depth) for key, node in keyed if node.mailbox_depth is not None],
    )
    yield _gauge(
        "calejo_actor_resident_bytes",
        "Resident memory",
        _ACTOR,
        [(key, node.rss_mib * 1024 * 1024) for key, node in keyed if node.rss_mib is not None],
    )
    yield _gauge(
        "calejo_actor_forked",
        "1 when the process was forked from a warm one, 0 when it was started cold",
        _ACTOR,
        [(key, node.birth == "forked") for key, node in keyed if node.birth is not None],
    )


def _wire(endpoints: dict[str, EndpointStatus | str]) -> Iterator[Metric]:
    living = {name: status for name, status in endpoints.items() if not isinstance(status, str)}
    one = ("endpoint",)
    yield _gauge(
        "calejo_endpoint_bound",
        "1 while the endpoint has its port",
        one,
        [((name,), name in living and bool(living[name].bound)) for name in endpoints],
    )
    yield _gauge(
        "calejo_endpoint_clients",
        "Connected clients",
        one,
        [((name,), status.clients) for name, status in living.items()],
    )
    yield _counter(
        "calejo_endpoint_writes_refused",
        "Client writes refused",
        one,
        [((name,), status.writes_refused) for name, status in living.items()],
    )
    yield _counter(
        "calejo_endpoint_clients_refused",
        "Connections and requests of clients refused",
        one,
        [((name,), status.clients_refused) for name, status in living.items()],
    )
    yield _counter(
        "calejo_endpoint_security_events",
        "Logins, certificates and sessions at an endpoint, since it started",
        (*one, "event", "outcome"),
        [
            ((name, *key.split(":", 1)), count)
            for name, status in living.items()
            for key, count in sorted(status.security.items())
        ],
    )
    yield _counter(
        "calejo_endpoint_client_events",
        "What happened with clients, and exceptions answered, by kind",
        ("endpoint", "event"),
        [((name, event), count) for name, status in living.items() for event, count in status.told.items()],
    )
    took = [(name, each) for name, status in living.items() if (each := status.proposal_to_wire) is not None]
    yield _gauge(
        "calejo_proposal_to_wire_seconds",
        "From a pump's tick to its value on the wire, over the last minute; 1 is the maximum",
        ("endpoint", "quantile"),
        [
            ((name, quantile), milliseconds / 1000.0)
            for name, each in took
            for quantile, milliseconds in (("0.5", each.p50_ms), ("0.99", each.p99_ms), ("1", each.max_ms))
        ],
    )
    pumps = [((name, pump.pump_id), pump) for name, status in living.items() for pump in status.pumps]
    for name, text, rows in (
        ("calejo_setpoint_hertz", "Setpoint on the wire", [(key, pump.setpoint_hz) for key, pump in pumps]),
        (
            "calejo_remote_enabled",
            "1 while Calejo claims the pump",
            [(key, float(pump.remote_enabled)) for key, pump in pumps],
        ),
        (
            "calejo_run_inhibit",
            "1 while a stop or out of service holds",
            [(key, float(pump.run_inhibit)) for key, pump in pumps],
        ),
        (
            "calejo_lease_left_seconds",
            "What is left of the setpoint's lease",
            [(key, pump.lease_left_s) for key, pump in pumps],
        ),
    ):
        yield _gauge(name, text, _PUMP, rows)
    yield _counter(
        "calejo_lease_lapses", "Leases that ran out", _PUMP, [(key, pump.lapses) for key, pump in pumps]
    )
    yield _counter(
        "calejo_gate_refused",
        "Setpoints the gate refused",
        (*_PUMP, "reason"),
        [((*key, reason), count) for key, pump in pumps for reason, count in pump.refused.items()],
    )


def _links(endpoints: dict[str, EndpointStatus | str]) -> Iterator[Metric]:
    """Yield how endpoints stand that connect to a broker."""
    links = [
        ((name,), status.link)
        for name, status in endpoints.items()
        if not isinstance(status, str) and status.link is not None
    ]
    if not links:
        return
    one = ("endpoint",)
    for name, text, gauged in (
        ("connected", "1 while the broker is connected", [(key, link.connected) for key, link in links]),
        ("session", "1 while hosts see our values", [(key, link.session) for key, link in links]),
        (
            "host_online",
            "1 while the primary host is there",
            [(key, link.host_online) for key, link in links],
        ),
        (
            "backfill_waiting",
            "Values no host has seen",
            [(key, link.backfill_waiting) for key, link in links],
        ),
    ):
        yield _gauge(f"calejo_link_{name}", text, one, gauged)
    for name, text, counted in (
        ("connects", "Connections made", [(key, link.connects) for key, link in links]),
        ("births", "Births published", [(key, link.births) for key, link in links]),
        ("commands", "Commands carried out", [(key, link.commands) for key, link in links]),
        (
            "incoming_dropped",
            "Messages of hosts that were dropped unread",
            [(key, link.incoming_dropped) for key, link in links],
        ),
        ("commands_refused", "Commands refused", [(key, link.commands_refused) for key, link in links]),
        ("backfill_lost", "Values lost for lack of room", [(key, link.backfill_lost) for key, link in links]),
    ):
        yield _counter(f"calejo_link_{name}", text, one, counted)


def _access(security: Mapping[tuple[str, str], int], days_left: Mapping[str, float]) -> Iterator[Metric]:
    yield _counter(
        "calejo_security_events",
        "Logins, refusals, lock-outs and changes of accounts since the API started",
        ("event", "outcome"),
        sorted(security.items()),
    )
    yield _gauge(
        "calejo_certificate_days_left",
        "Days until a certificate of the data directory expires; negative: it has",
        ("certificate",),
        [((name,), days) for name, days in sorted(days_left.items())],
    )


def _rest(answers: Mapping[int, int], streams: int) -> Iterator[Metric]:
    yield _counter(
        "calejo_rest_answers",
        "Answers of REST since the API started, by status: 401, 403, 409, 413, 422, 429 … are refusals",
        ("status",),
        [((str(status),), count) for status, count in sorted(answers.items())],
    )
    yield _gauge("calejo_rest_streams", "Who watches the stream now", (), [((), streams)])


def _storage(storage: StorageStatus) -> Iterator[Metric]:
    for name, text, value in (
        ("calejo_database_up", "1 while the database takes records", float(storage.database_ok)),
        ("calejo_spool_records", "Records waiting for the database", storage.spooled_records),
        ("calejo_spool_bytes", "Bytes waiting for the database", storage.spooled_bytes),
    ):
        yield _gauge(name, text, (), [((), value)])
    for name, text, count in (
        ("calejo_records_written", "Records written since the start", storage.written_total),
        ("calejo_records_refused", "Records the database refused for good", storage.refused_total),
        ("calejo_records_dropped", "Records dropped for lack of room", storage.dropped_total),
    ):
        yield _counter(name, text, (), [((), count)])
