"""One real Ray for all tests of this folder, in a namespace of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.vocabulary import Settings
from supervisors.ray_session import RaySession, connect


@pytest.fixture(scope="session")
def ray_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
def ray_session(ray_settings: Settings) -> Iterator[RaySession]:
    session = connect(
        ray_settings,
        namespace=f"calejo-{secrets.token_hex(4)}",
        make="tests.ray.actors_for_tests:make",
    )
    try:
        yield session
    finally:
        session.shutdown()


@pytest.fixture
def data_dir(ray_settings: Settings) -> Path:
    return Path(ray_settings.data_dir)
