"""One real Ray for all tests that drive actors themselves; each tree in a namespace of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from actors.vocabulary import Settings

if TYPE_CHECKING:
    from supervisors.on_ray.session import RaySession


@pytest.fixture(scope="session")
def ray_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
def ray_session(ray_settings: Settings) -> Iterator[RaySession]:
    from supervisors.on_ray.session import connect  # Ray costs a second: only for who needs it

    session = connect(
        ray_settings,
        namespace=f"calejo-{secrets.token_hex(4)}",
        make="tests.ray.actors_for_tests:make",
    )
    try:
        yield session
    finally:
        session.shutdown()


def beside(session: RaySession, settings: Settings, *, make: str) -> RaySession:
    """Return a session of its own on the same Ray, for another data directory; only the first one ends Ray."""
    from supervisors.on_ray.session import RaySession
    from supervisors.on_ray.setup import WorkerSetup

    setup = WorkerSetup(
        namespace=f"calejo-{secrets.token_hex(4)}",
        run_id=secrets.token_hex(16),
        make=make,
        data_dir=settings.data_dir,
        log=settings.log,
    )
    return RaySession(setup)
