"""What the workers of one tree are told when they begin."""

from __future__ import annotations

import os

import msgspec

from actors.vocabulary.settings import LogSettings
from supervisors.process import rss_mib


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What every worker of one tree is told; `make` is the import path `module:function` of a `MakeActor`."""

    namespace: str
    run_id: str
    make: str
    data_dir: str
    log: LogSettings


def identity(node_id: str) -> tuple[int | None, str | None, float | None]:
    """Return this process's pid, node and resident memory (MiB)."""
    return os.getpid(), node_id, rss_mib()
