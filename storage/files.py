"""Small durable files: whole or absent, never half written, readable by their owner only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from actors.vocabulary import DeviceError, UnavailableError

S = TypeVar("S", bound=msgspec.Struct)

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
TEMPORARY_PREFIX: Final = ".tmp-"
U32_MAX: Final = 0xFFFF_FFFF

UtcSecond = Callable[[], int]
"""Returns the current UTC second; an argument, so that tests and simulation can set it."""

_number = count()


def ensure_folder(folder: Path) -> None:
    """Make `folder` for its owner only.

    Raises:
        DeviceError: the disk refused.

    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        sync_folder(folder.parent)
    except OSError as error:
        raise refused(folder, error) from error


@contextmanager
def alone(lock: Path, *, doing: str) -> Iterator[None]:
    """Hold a lock file against other processes of this machine that are `doing` it; it ends with its process.

    Raises:
        UnavailableError: another one has it; try again.
        DeviceError: the disk refused.

    """
    ensure_folder(lock.parent)
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise refused(lock, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnavailableError(f"{lock.parent}: another process {doing}") from None
        yield
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes, *, replace: bool = True, undo: bool = True) -> bool:
    """Make `content` durable under `path`; return False if it exists already and may not be replaced.

    A reader sees the former content or this one. When this returns, the content survives a power cut. `undo` False:
    what the folder shows already may stay although nobody can promise that it lasts (a stop is better kept than lost).

    Raises:
        DeviceError: the disk refused. Readers see the former content, or none where there was none: a folder that
            could not be synced after the new name was there is put back. Where even that is refused, the error says
            so. (What a power cut would leave of a folder that cannot be synced, nobody can say.)

    """
    ensure_folder(path.parent)
    number = next(_number)
    temporary = _temporary(path, f"{number}")
    former = _temporary(path, f"{number}f")
    try:
        _write_synced(temporary, content)
        if replace:
            kept = undo and _kept(path, former)
            temporary.replace(path)
        else:
            kept = False
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return False
        try:
            sync_folder(path.parent)
        except OSError as error:
            if undo:
                _put_back(path, former if kept else None, error)
            raise
    except OSError as error:
        raise refused(path, error) from error
    else:
        return True
    finally:
        with suppress(OSError):  # gone already after a rename; what stays after a crash is swept later
            temporary.unlink(missing_ok=True)
            former.unlink(missing_ok=True)


def write_together(files: Sequence[tuple[Path, bytes]], *, wanted: Callable[[], bool]) -> None:
    """Make all of these files of one folder durable, or show none of them.

    `wanted` is asked once, when all of it is on the disk and before the first file gets its name: the last moment at
    which whoever waits for it may have given up. What comes after is as quick as renames are, and one sync.

    Raises:
        DeviceError: it is not wanted any more, or the disk refused: readers see what they saw before. Where the disk
            refuses to take a name back, the error says so.

    """
    written: list[tuple[Path, Path, Path]] = []
    placed: list[tuple[Path, Path | None]] = []
    try:
        for path, content in files:
            number = next(_number)
            written.append((path, _temporary(path, f"{number}"), _temporary(path, f"{number}f")))
            _write_synced(written[-1][1], content)
        if not written:
            return
        folder = files[0][0].parent
        if not wanted():
            raise DeviceError(f"{folder}: the disk was too slow, and nobody waits for it any more")
        try:
            for path, temporary, former in written:
                kept = _kept(path, former)
                temporary.replace(path)
                placed.append((path, former if kept else None))
            sync_folder(folder)
        except OSError as error:
            _put_all_back(placed, error)
            raise
    except OSError as error:
        raise refused(files[0][0].parent, error) from error
    finally:
        for _, temporary, former in written:
            with suppress(OSError):  # gone already after a rename; what stays after a crash is swept later
                temporary.unlink(missing_ok=True)
                former.unlink(missing_ok=True)


def _put_all_back(placed: Sequence[tuple[Path, Path | None]], error: OSError) -> None:
    """Take every name back that can be taken back.

    Raises:
        DeviceError: the disk refused this for one or more of them, so readers see the new content.

    """
    stuck: DeviceError | None = None
    for path, former in placed:
        try:
            _put_back(path, former, error)
        except DeviceError as again:
            stuck = again
    if stuck is not None:
        raise stuck


def _write_synced(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path, mark: str) -> Path:
    return path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{mark}-{path.name}"[:200]


def _kept(path: Path, former: Path) -> bool:
    """Give the content that is to be replaced a second name; return whether there is any.

    A name and not a copy: a full disk takes it back, too.
    """
    try:
        former.hardlink_to(path)
    except FileNotFoundError:
        return False
    return True


def _put_back(path: Path, former: Path | None, error: OSError) -> None:
    """Undo a name that could not be made durable, or nobody could rely on the refusal.

    Raises:
        DeviceError: the disk refuses this as well, so readers see the new content.

    """
    try:
        if former is None:
            path.unlink()
        else:
            former.replace(path)
    except OSError as again:
        text = f"{refused(path, error)}, and what was written could not be taken back: it is in force here"
        raise DeviceError(f"{text} ({again.strerror or type(again).__name__})") from error
    with suppress(OSError):  # the refusal that is being told is this very one
        sync_folder(path.parent)


def read_struct(path: Path, kind: type[S]) -> S | None:
    """Return what a small JSON file holds; None: there is no such file, or it is damaged.

    Raises:
        DeviceError: the disk refused.

    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise refused(path, error) from error


def free_bytes(folder: Path) -> int:
    """Return how many bytes this process may still write below `folder`.

    Raises:
        DeviceError: the disk refused.

    """
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise refused(folder, error) from error
    return found.f_bavail * found.f_frsize


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable (a rename is durable only with its folder)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, *, older_than_utc_s: float) -> None:
    """Remove what writers that were killed left behind."""
    with suppress(OSError):  # a sweep that fails costs a file name, nothing else
        for entry in os.scandir(folder):
            if entry.name.startswith(TEMPORARY_PREFIX) and entry.stat().st_mtime < older_than_utc_s:
                Path(entry.path).unlink(missing_ok=True)


def refused(path: Path, error: OSError) -> DeviceError:
    """Say what the disk refused."""
    return DeviceError(f"{path}: {error.strerror or type(error).__name__}")
