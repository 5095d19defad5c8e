"""Watches when certificates expire, and says so by alarm: 30 days before, urgently from 7 days on (SEC-4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from actors.plan.conditions import ConditionBook
from actors.vocabulary import DeviceError, Instant, Severity
from api.disk import Disk
from storage.certificates import CertificateView, judged, shown

EXPIRING: Final = "certificate_expiring"
UNREADABLE: Final = "certificate_unreadable"
_DISK_DEADLINE_S: Final = 2.0


class CertificateWatch:
    """Reads the folder beside the loop; what holds goes into the actor's book of conditions."""

    def __init__(self, folder: Path, conditions: ConditionBook, *, also: Sequence[str] = ()) -> None:
        """Take the folder, and files elsewhere ('' none)."""
        self._folder = folder
        self._also = tuple(Path(each) for each in also if each)
        self._conditions = conditions
        self._disk = Disk("certificates", calls_max=2)
        self._days_left: dict[str, float] = {}

    @property
    def days_left(self) -> Mapping[str, float]:
        """Days until each certificate expires, as last read; negative: it has."""
        return MappingProxyType(self._days_left)

    async def read(self, now: Instant) -> tuple[list[CertificateView], dict[str, str]]:
        """Return every certificate, the first to expire on top, and why others are unreadable, by name.

        Raises:
            DeviceError: the disk refused, or did not answer.

        """
        return await self._disk.call(
            partial(shown, self._folder, now=now.utc, also=self._also), deadline_s=_DISK_DEADLINE_S
        )

    async def look(self, now: Instant) -> str:
        """Judge every certificate; return why that was not possible, '' if it was."""
        try:
            views, broken = await self.read(now)
        except DeviceError as error:
            # What held goes on to hold: nobody has seen it end.
            return str(error)
        self._days_left = {each.name: each.days_left for each in views}
        held = set()
        for each in views:
            verdict = judged(each)
            if verdict is not None:
                held.add(_subject(each.name))
                self._conditions.hold(EXPIRING, _subject(each.name), *verdict)
        self._conditions.clear_all_but(EXPIRING, held)
        for name, why in broken.items():
            self._conditions.hold(UNREADABLE, _subject(name), Severity.HIGH, why)
        self._conditions.clear_all_but(UNREADABLE, {_subject(name) for name in broken})
        return ""


def _subject(name: str) -> str:
    return f"certificates/{name}"
