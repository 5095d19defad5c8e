"""Two pools of one role: for a store that reads beside the one connection that writes (SQLite)."""

from __future__ import annotations

from storage.engine import Database


class TwoPools:
    """Reads and writes with the writer's role: nothing of what it keeps is the reader's business."""

    def __init__(self, reader: Database, writer: Database) -> None:
        """Take two pools of one role: reading must not wait for the one connection that writes (SQLite)."""
        self._reader = reader
        self._writer = writer

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.close()
        await self._writer.close()
