"""The map of every wire as pages ready to be sent: made when the plant changes, not when somebody asks (MOD-2)."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from litestar.serialization import encode_json

from actors.vocabulary import Topology
from api.etags import tag_of
from api.paging import cut
from api.plant_views import TagView
from protocols.tags import tags as point_tags

_PAGES_MAX: Final = 32


class TagPage(NamedTuple):
    """A page as it is sent: its body, its tag, and the cursor of the next one."""

    body: bytes
    tag: str
    following: str


class TagPages:
    """Keeps the rows of one topology, and the pages that were asked for last. A topology is known by its identity."""

    def __init__(self) -> None:
        self._made: tuple[Topology, asyncio.Task[list[TagView]]] | None = None
        self._pages: dict[tuple[str, str, str, int], TagPage] = {}

    async def page(
        self, topology: Topology, *, site_id: str, station_id: str, cursor: str, limit: int
    ) -> TagPage:
        """Return a page; `site_id`, `station_id` '': of all.

        Raises:
            InvalidValueError: the cursor is none.

        """
        rows = await self._rows(topology)
        asked = (site_id, station_id, cursor, limit)
        if (kept := self._pages.get(asked)) is not None:
            return kept
        if site_id or station_id:
            rows = [
                row for row in rows if site_id in {"", row.site_id} and station_id in {"", row.station_id}
            ]
        page = cut(rows, _key, cursor=cursor, limit=limit)
        body = encode_json(page.rows)
        made = TagPage(body, tag_of(body), page.following)
        while len(self._pages) >= _PAGES_MAX:
            del self._pages[next(iter(self._pages))]
        if self._made is not None and self._made[0] is topology:
            self._pages[asked] = made
        return made

    async def _rows(self, topology: Topology) -> list[TagView]:
        """Return the rows of a topology, made once beside the loop: a stop must not wait for a thousand pumps' map."""
        known = self._made is not None and self._made[0] is topology
        if self._made is None or not known or _failed(self._made[1]):
            self._made = topology, asyncio.create_task(asyncio.to_thread(_rows_of, topology))
            self._pages = {}
        return await asyncio.shield(self._made[1])


def _failed(making: asyncio.Task[list[TagView]]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)


def _rows_of(topology: Topology) -> list[TagView]:
    return [TagView(**row) for site in topology.sites for row in point_tags(site)]


def _key(row: TagView) -> str:
    return " ".join(str(part) for part in (row.protocol, row.path, row.unit_id, row.table, row.address))
