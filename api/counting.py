"""How often REST answered what, since this API began: refusals can be counted without reading the audit (SEC-5)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class Counted:
    """Answers by status; there are no more of them than statuses."""

    def __init__(self) -> None:
        self._by_status: dict[int, int] = {}

    @property
    def by_status(self) -> Mapping[int, int]:
        """How often each status was answered."""
        return MappingProxyType(self._by_status)

    def answered(self, status: int) -> None:
        """Count one answer."""
        self._by_status[status] = self._by_status.get(status, 0) + 1
