"""A database that is away is told from one that refuses: the first passes by itself, the second needs a person."""

from __future__ import annotations

import pytest

from actors.vocabulary import DeviceError
from ops.ports import free_ports
from storage.schema import UnreachableError, require_current
from tests.services import Postgres

pytestmark = [pytest.mark.wire, pytest.mark.services]


def test_nobody_there_is_away() -> None:
    """DAT-3: connection refused."""
    (port,) = free_ports(1)
    with pytest.raises(UnreachableError, match=f"plant at 127.0.0.1:{port}"):
        require_current(f"postgresql+psycopg://calejo@127.0.0.1:{port}/plant")


def test_a_server_that_refuses_is_not_away(postgres: Postgres) -> None:
    """DAT-3, CFG-1: no such database: waiting would not help."""
    url = postgres.fresh_database().replace("postgresql://", "postgresql+psycopg://")
    head, _, _ = url.rpartition("/")
    with pytest.raises(DeviceError, match="does not exist") as refused:
        require_current(f"{head}/nowhere")
    assert not isinstance(refused.value, UnreachableError)
