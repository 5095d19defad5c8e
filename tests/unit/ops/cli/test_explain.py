"""Goal: whoever asks why a pump runs as it does is told of its failsafe and that it does not follow (SAF-4, CTL-5)."""

from __future__ import annotations

import msgspec

from actors.vocabulary import Reason
from api.chain_views import explain_view
from api.views import pump_view, setpoint_view
from ops.cli.views import _ladder
from tests.unit.api.served import decisions
from tests.unit.protocols.plants import north


def test_failsafe_and_following_are_told_by_rest_and_command_line() -> None:
    """SAF-4, WDG-2, CTL-5: reason and beginning of both, and no line about what does not hold."""
    station = north().stations[0]
    pump = station.pumps[0]
    told = decisions(station)
    sound = told.decisions[0]
    for wrong in (False, True):
        if wrong:
            sound = msgspec.structs.replace(
                sound,
                failsafe_since=sound.decided_at,
                failsafe_reason=Reason.FAILSAFE_PLAN_EXPIRED,
                not_following_since=sound.decided_at,
            )
        since = sound.decided_at.utc.isoformat() if wrong else None
        view = setpoint_view(sound)
        assert view.failsafe_reason == ("FAILSAFE_PLAN_EXPIRED" if wrong else None)
        assert (view.failsafe_since, view.not_following_since) == (since, since)
        answer = msgspec.structs.replace(told, decisions=(sound, *told.decisions[1:]))
        shown = pump_view(
            station, pump, decisions=answer, endpoints={}, out_of_service=(frozenset(), "")
        ).setpoint
        assert shown == view
        chain = msgspec.to_builtins(
            explain_view(station, pump, status="no answer", decisions=answer, endpoints={})
        )
        lines = [line for line in _ladder(chain) if line.startswith(("failsafe", "following"))]
        assert lines == (
            [
                f"failsafe    FAILSAFE_PLAN_EXPIRED since {since}",
                f"following   NOT_FOLLOWING since {since}: told and measured differ",
            ]
            if wrong
            else []
        )
