"""The folder of the runtime's own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import supervisors.on_ray.session  # noqa: F401  Ray's environment, before a test's own `import ray` reads it
from actors.vocabulary import Settings


@pytest.fixture
def data_dir(ray_settings: Settings) -> Path:
    return Path(ray_settings.data_dir)
