"""The files that pages load, held in memory under names that change with their content: nothing else is served."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = Path(__file__).parent / "static"
KINDS: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
KEPT: Final = "public, max-age=31536000, immutable"
_DIGEST_CHARACTERS: Final = 16


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file and what kind it is."""

    content: bytes
    kind: str


class Files:
    """All of them. A path is looked up, never followed: there is nothing that it could lead out of."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): File(content=path.read_bytes(), kind=KINDS[path.suffix])
            for path in sorted(folder.rglob("*"))
            if path.suffix in KINDS
        }
        digest = hashlib.sha256()
        for name, file in self._files.items():
            digest.update(f"{name}\0{len(file.content)}\0".encode())
            digest.update(file.content)
        self.digest = digest.hexdigest()[:_DIGEST_CHARACTERS]

    def url(self, name: str) -> str:
        """Return where a page finds a file.

        Raises:
            KeyError: there is none of that name: our own mistake.

        """
        self._files[name]
        return f"/static/{self.digest}/{name}"

    def file(self, digest: str, name: str) -> File | None:
        """Return a file of this version, None: there is none."""
        return self._files.get(name) if digest == self.digest else None
