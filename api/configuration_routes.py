"""`/api/v1/configuration`: the settings that this run has in force, without its secrets (CFG-1, API-2)."""

from __future__ import annotations

from typing import Final

from litestar import get
from litestar.datastructures import State

from actors.vocabulary import Settings
from actors.vocabulary.access import Operation
from api.access.guarding import needs
from api.handling import service_of


@get(
    "/configuration",
    sync_to_thread=False,
    summary="The settings in force, secrets masked",
    opt=needs(Operation.CONFIGURE),
)
def configuration(state: State) -> Settings:
    """Show every setting as `calejo config show` does; they are changed where they stand: file and environment."""
    return service_of(state).configuration


CONFIGURATION_HANDLERS: Final = [configuration]
