"""The figures of one bench run, and the tables that show them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import TypeVar

import msgspec

from actors.messages import LatencySummary
from ops.bench import opcua as opc
from ops.bench.modbus import ModbusFigures
from ops.bench.opcua import OpcUaFigures
from ops.bench.processes import Memory
from ops.bench.recovery import Recovered

T = TypeVar("T")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what it was measured; `load_1_min` is the machine's before anything of ours ran."""

    date_utc: str
    commit: str
    processor: str
    cores: int
    memory_mib: int
    load_1_min: float
    kernel: str
    python: str
    versions: dict[str, str]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """From tick to wire: `where` is an endpoint or 'bare Ray'; `ratio_p50`, `ratio_p99`: beside bare Ray's."""

    where: str
    hz: float
    pumps: int
    summary: LatencySummary | None
    cores_used: float | None = None
    ratio_p50: float | None = None
    ratio_p99: float | None = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Until everything answers (s): of the program from its command line, of bare Ray from `ray.init`."""

    what: str
    processes: int
    took_s: float


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """Kill-to-recovery of one kind of actor (s); `serves` where the kind has a service of its own to watch."""

    what: str
    kills: int
    answers_p50_s: float
    answers_max_s: float
    serves_p50_s: float | None = None
    serves_max_s: float | None = None
    ratio_p50: float | None = None


class RoleMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Mean memory (MiB) of the processes of one kind."""

    what: str
    processes: int
    private_mib: float
    rss_mib: float
    ratio_private: float | None = None


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with processes forked and the same with processes started cold; None: not measured."""

    what: str
    unit: str
    forked: float | None
    cold: float | None


class KernelRate(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions of the safety kernel on one core, for a station of so many pumps; a round decides for all of them."""

    pumps: int
    what: str
    decisions_per_s: float
    round_p50_us: float
    round_p99_us: float


class StopTime(msgspec.Struct, frozen=True, kw_only=True):
    """From an emergency stop's request by one `way` until one `wire` shows it for all pumps, or until its answer."""

    way: str
    wire: str
    pumps: int
    summary: LatencySummary | None


class Births(msgspec.Struct, kw_only=True):
    """What one way of starting processes showed, collected while the bench runs."""

    start_s: float | None = None
    memory_begin: list[tuple[str, Memory]] = msgspec.field(default_factory=list)
    memory_end: list[tuple[str, Memory]] = msgspec.field(default_factory=list)
    recovered: list[Recovered] = msgspec.field(default_factory=list)
    processor: list[tuple[str, float]] = msgspec.field(default_factory=list)
    cores_used: float | None = None
    bare_start_s: float | None = None
    bare_idle: float | None = None
    bare_memory: list[Memory] = msgspec.field(default_factory=list)
    bare_recoveries: list[float] = msgspec.field(default_factory=list)

    def note_processor(
        self, labelled: Iterable[tuple[str, int]], used: Callable[[int], float], cores_used: float
    ) -> None:
        """Take what each process used at 1 Hz (cores), and all together."""
        self.processor = [(label, used(pid)) for label, pid in labelled]
        self.cores_used = cores_used


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of one run. `shortfalls`: what could not be measured or was not as it should be, a line each."""

    machine: Machine
    seconds_per_rate: float
    recovery_resolution_s: float
    starts: tuple[Start, ...]
    latencies: tuple[Latency, ...]
    recoveries: tuple[Recovery, ...]
    memory: tuple[RoleMemory, ...]
    shortfalls: tuple[str, ...]
    births: tuple[Beside, ...] = ()
    kernel: tuple[KernelRate, ...] = ()
    stops: tuple[StopTime, ...] = ()
    modbus: ModbusFigures | None = None
    opcua: OpcUaFigures | None = None


class LawReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `--only` measures."""

    machine: Machine
    kernel: tuple[KernelRate, ...] = ()
    stops: tuple[StopTime, ...] = ()
    modbus: ModbusFigures | None = None
    opcua: OpcUaFigures | None = None


BARE = "bare Ray"


def beside_bare(latencies: Sequence[Latency]) -> tuple[Latency, ...]:
    """Return them with their ratios to bare Ray at the same rate."""
    bare = {each.hz: each.summary for each in latencies if each.where == BARE}

    def with_ratio(each: Latency) -> Latency:
        base = bare.get(each.hz)
        if each.where == BARE or each.summary is None or base is None:
            return each
        return msgspec.structs.replace(
            each,
            ratio_p50=each.summary.p50_ms / base.p50_ms,
            ratio_p99=each.summary.p99_ms / base.p99_ms,
        )

    return tuple(map(with_ratio, latencies))


def recoveries_of(kills: Sequence[Recovered], bare_s: Sequence[float]) -> tuple[Recovery, ...]:
    """Return one line for each kind of actor, the bare one first."""
    base = median(bare_s) if bare_s else None
    lines = []
    if base is not None:
        lines.append(
            Recovery(what=f"{BARE} actor", kills=len(bare_s), answers_p50_s=base, answers_max_s=max(bare_s))
        )
    for label in _in_order(each.label for each in kills):
        own = [each for each in kills if each.label == label]
        serves = [each.serves_s for each in own if each.serves_s is not None]
        answers = [each.answers_s for each in own]
        lines.append(
            Recovery(
                what=label,
                kills=len(own),
                answers_p50_s=median(answers),
                answers_max_s=max(answers),
                serves_p50_s=median(serves) if serves else None,
                serves_max_s=max(serves) if serves else None,
                ratio_p50=None if base is None else median(answers) / base,
            )
        )
    return tuple(lines)


def memory_of(seen: Sequence[tuple[str, Memory]], bare: Sequence[Memory]) -> tuple[RoleMemory, ...]:
    """Return one line for each kind of process, the bare one first."""
    base = fmean(each.private_mib for each in bare) if bare else None
    groups = [(f"{BARE} actor", list(bare))] if bare else []
    groups += [
        (label, [memory for other, memory in seen if other == label])
        for label in _in_order(label for label, _ in seen)
    ]
    return tuple(
        RoleMemory(
            what=label,
            processes=len(group),
            private_mib=fmean(each.private_mib for each in group),
            rss_mib=fmean(each.rss_mib for each in group),
            ratio_private=None
            if base is None or label.startswith(BARE)
            else fmean(each.private_mib for each in group) / base,
        )
        for label, group in groups
    )


def beside_cold(forked: Births, cold: Births, *, seconds: float) -> tuple[Beside, ...]:
    """Return every figure that both ways have, one beside the other; percentiles by nearest rank."""
    rows: list[tuple[str, str, float | None, float | None]] = [
        ("demo, command to ready", "s", forked.start_s, cold.start_s),
        ("demo at 1 Hz, everything", "cores", forked.cores_used, cold.cores_used),
    ]
    labels = _in_order(label for label, _ in (*forked.memory_end, *cold.memory_end))
    for label in labels:
        for when, begin in (("settled", True), (f"after {seconds:g} s at 1 Hz", False)):
            values = [
                _mean(
                    memory.private_mib
                    for other, memory in (births.memory_begin if begin else births.memory_end)
                    if other == label
                )
                for births in (forked, cold)
            ]
            rows.append((f"{label}, private, {when}", "MiB", values[0], values[1]))
    for label in _in_order(label for label, _ in (*forked.processor, *cold.processor)):
        used = [
            _mean(100.0 * share for other, share in births.processor if other == label)
            for births in (forked, cold)
        ]
        rows.append((f"{label}, at 1 Hz", "% core", used[0], used[1]))
    for label in _in_order(each.label for each in (*forked.recovered, *cold.recovered)):
        took = [
            [each.answers_s for each in births.recovered if each.label == label] for births in (forked, cold)
        ]
        rows.append((f"{label}, kill to answer, p50", "ms", _rank(took[0], 0.5), _rank(took[1], 0.5)))
        rows.append((f"{label}, kill to answer, worst", "ms", _rank(took[0], 1.0), _rank(took[1], 1.0)))
    idle = [None if births.bare_idle is None else 100.0 * births.bare_idle for births in (forked, cold)]
    bare = [_mean(each.private_mib for each in births.bare_memory) for births in (forked, cold)]
    back = [_rank(births.bare_recoveries, 0.5) for births in (forked, cold)]
    rows += [
        (f"as many {BARE} actors, with ray.init", "s", forked.bare_start_s, cold.bare_start_s),
        (f"{BARE} actor, private", "MiB", bare[0], bare[1]),
        (f"{BARE} actor, idle", "% core", idle[0], idle[1]),
        (f"{BARE} actor, kill to answer, p50", "ms", back[0], back[1]),
    ]
    return tuple(Beside(what=what, unit=unit, forked=one, cold=other) for what, unit, one, other in rows)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return fmean(listed) if listed else None


def _rank(seconds: Sequence[float], share: float) -> float | None:
    """Return a percentile by nearest rank in ms, None of nothing."""
    ordered = sorted(seconds)
    return 1000.0 * ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _in_order(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


# --------------------------------------------------------------------------- tables


def tables(report: Report) -> str:
    """Return everything as text: a heading and an aligned table for each kind of figure."""
    parts = [
        _head(report.machine),
        _table(
            "Start, until everything answers",
            ("what", "processes", "s"),
            [(each.what, each.processes, _s(each.took_s)) for each in report.starts],
        ),
        _table(
            f"Proposal to wire, {report.seconds_per_rate:g} s at each rate (ms)",
            ("where", "pumps", "Hz", "n", "p50", "p99", "max", "p50 / bare", "p99 / bare", "cores used"),
            [_latency_row(each) for each in report.latencies],
        ),
        _table(
            f"Kill to recovery (s; resolution {report.recovery_resolution_s * 1000:g} ms)",
            ("who", "kills", "answers p50", "max", "serves p50", "max", "answers / bare"),
            [
                (
                    each.what,
                    each.kills,
                    _s(each.answers_p50_s),
                    _s(each.answers_max_s),
                    _s(each.serves_p50_s),
                    _s(each.serves_max_s),
                    _ratio(each.ratio_p50),
                )
                for each in report.recoveries
            ],
        ),
        _table(
            "Memory of a process, mean (MiB)",
            ("who", "processes", "private", "RSS", "private / bare", "private, together"),
            [
                (
                    each.what,
                    each.processes,
                    f"{each.private_mib:.1f}",
                    f"{each.rss_mib:.1f}",
                    _ratio(each.ratio_private),
                    f"{each.private_mib * each.processes:.0f}",
                )
                for each in report.memory
            ],
        ),
    ]
    if report.births:
        parts.append(
            _table(
                "Processes forked beside processes started cold",
                ("what", "unit", "forked", "cold", "forked / cold"),
                [
                    (each.what, each.unit, _figure(each.forked), _figure(each.cold), _ratio(_share(each)))
                    for each in report.births
                ],
            )
        )
    parts += [*_law_tables(report.kernel, report.stops), *modbus_tables(report.modbus)]
    if report.opcua is not None:
        parts.append(opc.shown(report.opcua))
    if report.shortfalls:
        parts.append("Fell short:\n" + "\n".join(f"  {line}" for line in report.shortfalls))
    return "\n\n".join(parts)


def law_tables(report: LawReport) -> str:
    """Return what `--only` measured as text."""
    parts = [_head(report.machine), *_law_tables(report.kernel, report.stops), *modbus_tables(report.modbus)]
    if report.opcua is not None:
        parts.append(opc.shown(report.opcua))
    return "\n\n".join(parts)


def modbus_tables(figures: ModbusFigures | None) -> list[str]:
    """Return what was measured of Modbus as text."""
    if figures is None:
        return []
    rates = [
        (f"{each.server}, {each.clients} clients", f"{each.requests_per_s:.0f}", f"{each.p50_ms:.2f}",
         f"{each.p99_ms:.2f}", "-" if each.ratio is None else f"{each.ratio:.2f}")
        for each in figures.rates
    ]  # fmt: skip
    seen = [(each.server, each.count, f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}") for each in figures.seen]
    return [
        _table(
            "Modbus TCP, 100 registers a request (ms)",
            ("server", "requests/s", "p50", "p99", "requests/s / bare"),
            rates,
        ),
        _table("Publish to a client that looks every ms (ms)", ("server", "n", "p50", "p99"), seen),
        f"Modbus, {figures.large}",
    ]


def _head(machine: Machine) -> str:
    return (
        f"Calejo bench, {machine.date_utc}, commit {machine.commit}\n"
        f"{machine.processor}, {machine.cores} cores, {machine.memory_mib} MiB, load {machine.load_1_min:.1f}"
        f" before; Python {machine.python}; "
        + ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    )


def _law_tables(kernel: Sequence[KernelRate], stops: Sequence[StopTime]) -> list[str]:
    parts = []
    if kernel:
        rows = [
            (f"{each.pumps} pumps, {each.what}", f"{each.decisions_per_s:.0f}", f"{each.round_p50_us:.0f}",
             f"{each.round_p99_us:.0f}")
            for each in kernel
        ]  # fmt: skip
        heading = ("station", "decisions/s", "round p50", "p99")
        parts.append(_table("Safety kernel on one core, processor time (us)", heading, rows))
    if stops:
        shown = [(f"{each.way}, {each.wire}", each.pumps, *_stop_figures(each.summary)) for each in stops]
        parts.append(
            _table(
                "Emergency stop, request to wire (ms)",
                ("by, until shown on", "pumps", "n", "p50", "p99", "max"),
                shown,
            )
        )
    return parts


def _stop_figures(summary: LatencySummary | None) -> tuple[object, ...]:
    if summary is None:
        return ("-",) * 4
    return (summary.count, f"{summary.p50_ms:.1f}", f"{summary.p99_ms:.1f}", f"{summary.max_ms:.1f}")


def _latency_row(each: Latency) -> tuple[object, ...]:
    summary = each.summary
    figures = (
        ("-",) * 4
        if summary is None
        else (summary.count, f"{summary.p50_ms:.1f}", f"{summary.p99_ms:.1f}", f"{summary.max_ms:.1f}")
    )
    used = "-" if each.cores_used is None else f"{each.cores_used:.2f}"
    ratios = (_ratio(each.ratio_p50), _ratio(each.ratio_p99))
    return (each.where, each.pumps, f"{each.hz:g}", *figures, *ratios, used)


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10.0 else f"{value:.1f}"  # noqa: PLR2004


def _share(each: Beside) -> float | None:
    return each.forked / each.cold if each.forked is not None and each.cold else None


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an aligned table: the first column to the left, figures to the right."""
    cells = [tuple(columns), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    lines = [
        "  ".join(
            text.ljust(width) if at == 0 else text.rjust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join((title, lines[0], "-" * len(lines[0]), *lines[1:]))
