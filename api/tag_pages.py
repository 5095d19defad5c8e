"""The map of every wire as pages ready to be sent: made when the plant changes, not when somebody asks (MOD-2)."""

from __future__ import annotations

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
        self._topology: Topology | None = None
        self._rows: list[TagView] = []
        self._pages: dict[tuple[str, str, str, int], TagPage] = {}

    def page(self, topology: Topology, *, site_id: str, station_id: str, cursor: str, limit: int) -> TagPage:
        """Return a page; `site_id`, `station_id` '': of all.

        Raises:
            InvalidValueError: the cursor is none.

        """
        if topology is not self._topology:
            rows = [TagView(**row) for site in topology.sites for row in point_tags(site)]
            self._topology, self._rows, self._pages = topology, rows, {}
        asked = (site_id, station_id, cursor, limit)
        made = self._pages.get(asked)
        if made is None:
            chosen = [
                row
                for row in self._rows
                if site_id in {"", row.site_id} and station_id in {"", row.station_id}
            ]
            page = cut(chosen, _key, cursor=cursor, limit=limit)
            body = encode_json(page.rows)
            made = TagPage(body, tag_of(body), page.following)
            while len(self._pages) >= _PAGES_MAX:
                del self._pages[next(iter(self._pages))]
            self._pages[asked] = made
        return made


def _key(row: TagView) -> str:
    return " ".join(str(part) for part in (row.protocol, row.path, row.unit_id, row.table, row.address))
