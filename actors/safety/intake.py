"""What a station's safety has been told and not forgotten: proposals, feedback, latches, failures; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from actors.feedback import FeedbackMemory, judge, newest, pumping_since_of
from actors.messages import FeedbackReceived, JudgedValue, Proposal, PumpFeedback, ScopeFailed
from actors.safety.conditions import waiting_for
from actors.safety.failsafe import malformed
from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE, LatchSet
from actors.safety.types import KernelState, PumpInput, PumpState, RoundInput
from actors.station.profiles import governing, pump_in_force
from actors.vocabulary import (
    Address,
    ControlSettings,
    Instant,
    PumpConfig,
    Reason,
    Scope,
    SiteConfig,
    StationConfig,
)

# A pump that is silent for so many periods no longer drives the rounds of its station: the beat does, with
# the lease still running from its last tick, so that a dry run is seen while the pump's actor is being
# restarted.
SILENT_PERIODS: Final = 1.5
FAILURES_MAX: Final = 1_000
# Supervisors repeat a quarantine every 5 s. One that is repeated no more ended with its supervisor.
FAILURE_HOLDS_S: Final = 15.0


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    scope: Scope
    scope_id: str
    reason: Reason
    told_at: Instant


class Intake:
    """The newest of everything, by pump of the station as configured now."""

    def __init__(
        self, site: SiteConfig, station_id: str, *, since: Instant, control: ControlSettings
    ) -> None:
        self.site_id = site.site_id
        self.station_id = station_id
        self.station: StationConfig | None = site.station(station_id)
        self.since = since
        self.latches = LatchSet()
        self.proposals: dict[str, Proposal] = {}
        self._control = control
        self._feedback: dict[str, PumpFeedback] = {}
        self._memories: dict[str, FeedbackMemory] = {}
        self._failures: dict[Address, _Failure] = {}

    @property
    def memories(self) -> Mapping[str, FeedbackMemory]:
        """What judging remembers of each pump."""
        return self._memories

    def recall(self, memories: Mapping[str, FeedbackMemory]) -> None:
        """Go on from what our predecessor remembered, before anything is judged."""
        self._memories = {key: value for key, value in memories.items() if self.pump(key) is not None}

    def pumps(self) -> tuple[PumpConfig, ...]:
        """Return the station's pumps, in wire order."""
        return () if self.station is None else self.station.pumps

    def pump(self, pump_id: str) -> PumpConfig | None:
        """Return the pump of that id, or None."""
        return None if self.station is None else self.station.pump(pump_id)

    def propose(self, proposal: Proposal, *, now: Instant) -> tuple[bool, str]:
        """Keep the newest tick of each pump; return (whether it is newer, why it was dropped as malformed)."""
        pump = self.pump(proposal.pump_id)
        if pump is None:
            return False, "no pump of this station"
        why = malformed(proposal, now=now)
        if why:
            return False, why
        known = self.proposals.get(pump.pump_id)
        # Another boot's tick cannot be compared: it is taken, and the gates judge its age.
        if (
            known is not None
            and known.origin.boot_id == proposal.origin.boot_id
            and proposal.origin.boot_ns <= known.origin.boot_ns
        ):
            return False, ""
        self.proposals[pump.pump_id] = proposal
        return True, ""

    def take_feedback(self, message: FeedbackReceived, *, now: Instant) -> None:
        """Merge what an endpoint or poller holds; of each point the newest sample counts."""
        if message.station_id != self.station_id:
            return
        for feedback in message.pumps:
            pump = self.pump(feedback.pump_id)
            if pump is not None:
                merged = newest(self._feedback.get(pump.pump_id), feedback, now=now)
                self._feedback[pump.pump_id] = merged
                self._judge(pump, now=now)

    def take_failure(self, message: ScopeFailed, *, now: Instant) -> None:
        """Remember or forget that a child of the tree is quarantined (SUP-5)."""
        if not message.active:
            self._failures.pop(message.child, None)
        elif message.child in self._failures or len(self._failures) < FAILURES_MAX:
            self._failures[message.child] = _Failure(
                scope=message.scope,
                scope_id="" if message.scope is Scope.SYSTEM else message.scope_id,
                reason=message.reason,
                told_at=now,
            )

    def forget_failures(self, *, now: Instant) -> bool:
        """Forget what has not been repeated for FAILURE_HOLDS_S; return whether there was any."""
        kept = {
            child: failure
            for child, failure in self._failures.items()
            if now.seconds_since(failure.told_at) < FAILURE_HOLDS_S
        }
        before, self._failures = self._failures, kept
        return len(kept) < len(before)

    def configure(self, site: SiteConfig) -> StationConfig | None:
        """Put a configuration in force, forget pumps that are gone; return the one before."""
        before, self.station = self.station, site.station(self.station_id)
        kept = {pump.pump_id for pump in self.pumps()}
        self.proposals = {key: value for key, value in self.proposals.items() if key in kept}
        self._feedback = {key: value for key, value in self._feedback.items() if key in kept}
        self._memories = {key: value for key, value in self._memories.items() if key in kept}
        return before

    def judged(self, *, now: Instant) -> dict[str, dict[str, JudgedValue]]:
        """Judge every pump's feedback (CTL-4)."""
        return {pump.pump_id: self._judge(pump, now=now) for pump in self.pumps()}

    def round_input(self, deciding: frozenset[str], *, now: Instant) -> RoundInput | None:
        """Return what the kernel is to decide on; None: the station is gone."""
        if self.station is None:
            return None
        judged = self.judged(now=now)
        profile = governing(self.station, now.utc)
        pumps = tuple(pump_in_force(pump, profile) for pump in self.pumps())
        return RoundInput(
            station=msgspec.structs.replace(self.station, pumps=pumps),
            control=self._control,
            pumps={pump.pump_id: self._input(pump, judged[pump.pump_id]) for pump in pumps},
            deciding=deciding,
            profile=profile,
        )

    def newly_proposed(self, decided: Mapping[str, Instant]) -> frozenset[str]:
        """Return the pumps whose newest tick is not the one decided: without one nothing is renewed
        (SAF-9).
        """
        return frozenset(
            pump_id for pump_id, proposal in self.proposals.items() if decided.get(pump_id) != proposal.origin
        )

    def silent(self, *, now: Instant) -> frozenset[str]:
        """Return the pumps whose actor is silent while the lease of its last tick still runs."""
        least_s = SILENT_PERIODS * self._control.period_s
        return frozenset(
            pump_id
            for pump_id, proposal in self.proposals.items()
            if least_s < now.seconds_since(proposal.origin) <= self._control.setpoint_lease_s
        )

    def waiting(self, kernel: KernelState, judged: Mapping[str, dict[str, JudgedValue]]) -> dict[str, str]:
        """Name what each pump still waits for before anything is published for it (SAF-10)."""
        named: dict[str, str] = {}
        for pump in self.pumps():
            state = kernel.pumps.get(pump.pump_id, PumpState())
            parts = [waiting_for(self._input(pump, judged[pump.pump_id]), state)]
            if pump.pump_id not in self.proposals:
                parts.append("proposal")
            text = ", ".join(part for part in parts if part)
            if text:
                named[pump.pump_id] = text
        return named

    def _judge(self, pump: PumpConfig, *, now: Instant) -> dict[str, JudgedValue]:
        judged, memory = judge(
            self._feedback.get(pump.pump_id, PumpFeedback(pump_id=pump.pump_id)),
            self._memories.get(pump.pump_id, FeedbackMemory()),
            now=now,
            since=self.since,
            control=self._control,
            pump=pump,
            pumping_since=pumping_since_of(self._memories.values()),
        )
        self._memories[pump.pump_id] = memory
        return judged

    def _input(self, pump: PumpConfig, judged: dict[str, JudgedValue]) -> PumpInput:
        where = (self.site_id, self.station_id, pump.pump_id)
        return PumpInput(
            config=pump,
            proposal=self.proposals.get(pump.pump_id),
            feedback=judged,
            stopped=bool(self.latches.covering(*where, kind=EMERGENCY_STOP)),
            out_of_service=bool(self.latches.covering(*where, kind=OUT_OF_SERVICE)),
            scope_failure=self._failure_of(pump.pump_id),
        )

    def latch_release(self, pump_id: str) -> int:
        """Return the newest release number of the pump that is known here (EST-6)."""
        return self.latches.release_id(self.site_id, self.station_id, pump_id)

    def _failure_of(self, pump_id: str) -> Reason | None:
        for key in (
            (Scope.PUMP, pump_id),
            (Scope.STATION, self.station_id),
            (Scope.SITE, self.site_id),
            (Scope.SYSTEM, ""),
        ):
            for failure in self._failures.values():
                if (failure.scope, failure.scope_id) == key:
                    return failure.reason
        return None
