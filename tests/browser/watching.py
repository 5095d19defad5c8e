"""An API that browsers watch: it goes down as a killed process does, and comes back on its port with its users."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from actors.vocabulary.access import UserRole
from actors.vocabulary.users import Session
from api.access.cookies import Cookies
from api.access.tokens import Use, issued
from tests.browser.plant import Plant
from tests.unit.actors.limits.books import Store
from tests.unit.api.people import Users, person
from tests.unit.api.served import Latches, Memory, Served, served

# What must be so without a touch: a second until the next look, another on a busy machine.
SOON_MS = 8_000
COMES_BACK_WITHIN_S = 5.0


class Watched:
    """The API over a scripted plant."""

    def __init__(self, plant: Plant, folder: Path, **readers: Any) -> None:
        self.plant = plant
        self.latches, self.users, self.limits = Latches(), Users(), Store()
        self._folder, self._readers = folder, readers
        self._ports: tuple[int, int] | None = None
        self._running = ExitStack()
        self.api: Served

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.rest}"

    def up(self) -> None:
        """Serve, on the port that it had before."""
        self.api = self._running.enter_context(
            served(
                self._folder,
                tree=self.plant,
                latches=self.latches,
                memory=Memory(),
                users=self.users,
                limits=self.limits,
                ports=self._ports,
                **self._readers,
            )
        )
        self._ports = (self.api.rest, self.api.health)

    def down(self) -> None:
        """Be gone: connections end, the port refuses."""
        self._running.close()

    def session(self, user: str, role: UserRole, **changed: Any) -> Session:
        """Return a new session of a user, who is made when first named."""
        now = self.api.desk.clock.now().utc
        self.users.by_id.setdefault(user, person(user, role, now))
        session = Session(
            session_id=str(uuid.uuid4()), user_id=user, started_at=now, seen_at=now,
            expires_at=now + timedelta(hours=12), source_address="127.0.0.1:1",
        )  # fmt: skip
        session = msgspec.structs.replace(session, **changed)
        self.users.all[session.session_id] = session
        return session

    def token(self, session: Session) -> str:
        """Return what a session's cookie holds, without the cost of a password."""
        account = self.users.by_id[session.user_id]
        return issued(
            self.api.desk.ring, Use.BROWSER, session, account, now=session.started_at, expires_at=session.expires_at
        )  # fmt: skip

    def cookie(self, user: str, role: UserRole) -> Any:
        name = Cookies.of(self.api.settings.api).name
        token = self.token(self.session(user, role))
        return {
            "name": name, "value": token, "domain": "127.0.0.1", "path": "/", "httpOnly": True, "sameSite": "Strict",
        }  # fmt: skip
