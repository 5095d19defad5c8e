"""The figures of one bench run, and the tables that show them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import TypeVar

import msgspec

from actors.messages import LatencySummary
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


def _in_order(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


# --------------------------------------------------------------------------- tables


def tables(report: Report) -> str:
    """Return everything as text: a heading and an aligned table for each kind of figure."""
    machine = report.machine
    head = (
        f"Calejo bench, {machine.date_utc}, commit {machine.commit}\n"
        f"{machine.processor}, {machine.cores} cores, {machine.memory_mib} MiB, load {machine.load_1_min:.1f}"
        f" before; Python {machine.python}; "
        + ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    )
    parts = [
        head,
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
    if report.shortfalls:
        parts.append("Fell short:\n" + "\n".join(f"  {line}" for line in report.shortfalls))
    return "\n\n".join(parts)


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
