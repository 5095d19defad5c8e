"""Settings of the demo plant: defaults, then `<data-dir>/demo/settings.yaml`, then `CALEJODEMO_*` from the
environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from actors.vocabulary import InvalidValueError
from ops.demo.plant import Storm

PREFIX: Final = "CALEJODEMO_"
FILE: Final = "settings.yaml"
DATABASE_URL: Final = f"{PREFIX}DATABASE_URL"


class DemoSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds, bytes and seeds of the plant; `storm_*` see `plant.Storm`."""

    seed: int = 7
    scan_s: float = 0.1
    read_s: float = 0.25
    write_s: float = 1.0
    answer_s: float = 1.0
    reconnect_s: float = 1.0
    reboot_s: float = 5.0
    # The plant ends when Calejo has been silent for this long.
    alone_s: float = 600.0
    log_s: float = 1.0
    log_bytes_max: int = 16_777_216
    storm_first_s: float = 1_800.0
    storm_every_s: float = 21_600.0
    storm_lasts_s: float = 3_600.0
    plan_every_s: float = 300.0
    heartbeat_every_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what would spin, stand still or fill the disk."""
        for name in self.__struct_fields__:
            if name != "seed" and not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.storm_lasts_s >= self.storm_every_s:
            raise ValueError("storm_lasts_s must be less than storm_every_s")

    @property
    def storm(self) -> Storm:
        """The storm that comes again and again."""
        return Storm(first_s=self.storm_first_s, every_s=self.storm_every_s, lasts_s=self.storm_lasts_s)


def load(folder: Path, environment: Mapping[str, str]) -> DemoSettings:
    """Read the settings of the demo in `folder`.

    Raises:
        InvalidValueError: the file cannot be read, or a key or value is wrong.

    """
    path = folder / FILE
    values: dict[str, Any] = {}
    try:
        if path.exists():
            values.update(yaml.safe_load(path.read_text()) or {})
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidValueError(f"{path}: {error}") from error
    values.update(
        {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and name != DATABASE_URL
        }
    )
    try:
        return msgspec.convert(values, DemoSettings, strict=False)
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidValueError(f"demo settings ({path} or {PREFIX}*): {error}") from error
