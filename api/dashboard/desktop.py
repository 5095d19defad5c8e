"""What all pages of one API share: texts, templates, files, and the plant looked at once for everybody."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import msgspec
from litestar.datastructures import State

from actors.messages import TreeNode
from actors.vocabulary import UnavailableError, UnknownSubjectError
from actors.vocabulary.audit_trail import AuditWindow
from api.audit_routes import VERIFY_MAX
from api.dashboard.files import Files
from api.dashboard.picture import TREE_FRESH_S, Pictures, Shared
from api.dashboard.rendering import Renderer
from api.dashboard.texts import Texts
from api.dashboard.trends import STEP_S, StationTrend, drawn, span
from api.service import Service
from api.sources import find_station

DASHBOARD: Final = "dashboard"
"""Where the application's state holds its `Dashboard`."""

# Thousands of hashes: once a minute, whoever looks.
_VERIFIED_FRESH_S: Final = 60.0
_TREND_FRESH_S: Final = 30.0
_TRENDS_MAX: Final = 500


class Dashboard:
    """One for each application."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.files = Files()
        self.texts = Texts()
        self.renderer = Renderer(self.files)
        self.pictures = Pictures(service)
        self._tree: Shared[tuple[TreeNode, ...]] = Shared(
            service.sources.tree, service.clock, fresh_s=TREE_FRESH_S
        )
        self._verified = Shared(self._verify, service.clock, fresh_s=_VERIFIED_FRESH_S)
        self._trends: dict[str, Shared[StationTrend]] = {}

    async def tree(self) -> tuple[TreeNode, ...]:
        """Return the tree of now.

        Raises:
            UnavailableError: the root does not answer.

        """
        return await self._tree.get()

    async def verified(self) -> AuditWindow | None:
        """Return whether the newest records hold, at most a minute old; None: this API reads no trail.

        At most as many records as one request verifies: `calejo audit verify` does all. `archived` tells of records
        that have left for segments, which are not seen here; `holds` is about those that are.

        Raises:
            DeviceError: the database is away.

        """
        return await self._verified.get()

    async def _verify(self) -> AuditWindow | None:
        reader = self.service.audit
        if reader is None:
            return None
        first = await reader.verify(after=0, count_max=1)
        # Nothing stands below the last segment: a window cannot begin there.
        after = max(first.archived, first.total - VERIFY_MAX)
        try:
            window = await reader.verify(after=after, count_max=VERIFY_MAX)
        except UnknownSubjectError as error:
            # Not the page's fault and not the reader's: more was archived between the two questions.
            raise UnavailableError(f"the trail changed while it was looked at: {error}") from None
        return msgspec.structs.replace(window, archived=first.archived)

    async def trend(self, station_id: str) -> StationTrend:
        """Return a station's day, at most half a minute old.

        Raises:
            UnknownSubjectError: there is no such station.
            DeviceError: the database is away, or this API has none.

        """
        find_station(await self.service.sources.topology(), station_id)
        if station_id not in self._trends:
            while len(self._trends) >= _TRENDS_MAX:
                del self._trends[next(iter(self._trends))]
            self._trends[station_id] = Shared(
                partial(self._read_trend, station_id), self.service.clock, fresh_s=_TREND_FRESH_S
            )
        return await self._trends[station_id].get()

    async def _read_trend(self, station_id: str) -> StationTrend:
        # As it is now: pumps may have come since somebody first asked.
        _, station = find_station(await self.service.sources.topology(), station_id)
        reader, now = self.service.trends, self.service.clock.now().utc
        if reader is None:
            raise UnavailableError("trends: this API has no database")
        start, end = span(now)
        plans = await reader.plans(station.station_id, start=start, end=end)
        # One after the other: a drawing must not take all connections from whoever commands.
        measured = {
            pump.pump_id: await reader.measured(pump.pump_id, start=start, end=end, piece_s=STEP_S)
            for pump in station.pumps
        }
        return await asyncio.to_thread(drawn, station, plans, measured, now=now)


def dashboard_of(state: State) -> Dashboard:
    """Return the application's dashboard."""
    dashboard = state[DASHBOARD]
    assert isinstance(dashboard, Dashboard)
    return dashboard
