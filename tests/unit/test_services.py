"""The services that other tests lean on: that they are there, apart from each other, and gone afterwards."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.services import Postgres


@pytest.mark.services
def test_each_database_is_its_own(postgres: Postgres) -> None:
    """DAT-1: two fresh databases of one cluster do not see each other's tables."""
    first, second = postgres.fresh_database(), postgres.fresh_database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE only_here (x int)")
    with psycopg.connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM only_here")


@pytest.mark.services
def test_a_stopped_cluster_refuses_and_returns_with_its_data(own_postgres: Postgres) -> None:
    """DAT-3: a test can take the database away, open sessions and all, and give it back on the same address."""
    url = own_postgres.fresh_database()
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE TABLE kept (x int)")
        own_postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)
    own_postgres.start()
    with psycopg.connect(url) as session:
        assert session.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.services
def test_mbpoll_starts(mbpoll: Path) -> None:
    """MOD-1: the Modbus client of the wire tests can be run."""
    done = subprocess.run([mbpoll, "-h"], capture_output=True, text=True, timeout=10, check=False)
    assert "usage : mbpoll" in done.stdout


@pytest.mark.services
def test_node_opcua_loads(node_opcua: Path) -> None:
    """OPC-1: the OPC UA client of the wire tests can be loaded from the peers' folder."""
    script = "console.log(typeof require('node-opcua-client').OPCUAClient.create)"
    done = subprocess.run(
        ["node", "-e", script], cwd=node_opcua, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("function\n")
