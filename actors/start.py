"""What a role is told when it is started: the same structure for every role, only the relevant parts filled."""

from __future__ import annotations

import msgspec

from actors.messages import Epoch
from actors.vocabulary import Address, Role, Settings, SiteConfig


class WorkerStart(msgspec.Struct, frozen=True, kw_only=True):
    """The start arguments of one worker.

    `site` is the whole site for endpoints and watchdog, `SiteConfig.only(station)` for a station's actors, None
    for the platform. `epoch` is set for safety only. `incarnation` counts the starts of this address by its
    supervisor.
    """

    role: Role
    address: Address
    settings: Settings
    site: SiteConfig | None = None
    station_id: str | None = None
    pump_id: str | None = None
    epoch: Epoch | None = None
    incarnation: int = 1
