"""The door of a Modbus endpoint: who is let in, how many, from where, and who has to go (MOD-4)."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import msgspec

from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.sources import source_of
from protocols.modbus import news
from protocols.modbus.clients import NOBODY, AllowList
from protocols.modbus.connection import Connection
from protocols.modbus.limits import Budgets, ModbusLimits, Register
from protocols.modbus.news import News
from protocols.modbus.places import who_gives_way

_NO_CERTIFICATE: Final = "PEER_DID_NOT_RETURN_A_CERTIFICATE"


class Door:
    """Everybody who is connected, shaking hands or leaving; nothing in it grows past `limits`."""

    def __init__(self, limits: ModbusLimits, allow: AllowList, told: News) -> None:
        """Start closed."""
        self._limits = limits
        self._allow = allow
        self._news = told
        self._register = Register(limits)
        self._budgets: dict[Connection, Budgets] = {}
        # The oldest first.
        self._shaking: dict[Connection, None] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.connections: set[Connection] = set()
        self.retiring: set[Connection] = set()
        self.is_open = False

    @property
    def limits(self) -> ModbusLimits:
        """The bounds."""
        return self._limits

    @property
    def shaking(self) -> int:
        """How many TLS handshakes are under way."""
        return len(self._shaking)

    def budgets(self, connection: Connection) -> Budgets | None:
        """Return what a client may ask; None: it has left, and asks for what had arrived."""
        return self._budgets.get(connection)

    def greet(self, connection: Connection) -> Caller | None:
        """Look at where it comes from; None: it is not let in."""
        if not self.is_open:
            return None
        if not self._register.may_connect(connection.host, now_s=connection.came_s):
            self._turn_away(connection, "its address connects too often")
            return None
        caller = NOBODY if connection.secured else self._allow.caller(connection.host)
        if caller is None:
            self._turn_away(connection, "its address is not on the allow list")
            return None
        if connection.secured:
            self._begin_shaking(connection)
        return caller

    def _turn_away(self, connection: Connection, why: str, *, event: str = news.REFUSED) -> None:
        """Tell of somebody who is not let in: what strangers do must not hide what clients do."""
        self._news.tell(event, connection.peer, why, stranger=True)

    def _begin_shaking(self, connection: Connection) -> None:
        """Take up a handshake; beyond a bound the oldest ends, so that half-open ones keep nobody out."""
        source = source_of(connection.host)
        own = [each for each in self._shaking if source_of(each.host) == source]
        leaving = None
        if self._register.counts(connection.host) and len(own) >= self._limits.handshakes_per_address_max:
            leaving = own[0]
        elif len(self._shaking) >= self._limits.handshakes_max:
            leaving = next(iter(self._shaking))
        if leaving is not None:
            # Cancelled, it says so itself, a moment later.
            del self._shaking[leaving]
            leaving.drop("its handshake gave way to a newer one")
        self._shaking[connection] = None

    def shaken(self, connection: Connection, *, fault: Exception | None, remark: str) -> None:
        """Note that a TLS handshake is over."""
        self._shaking.pop(connection, None)
        if not self.is_open:
            return
        if fault is None:
            if remark:
                self._news.tell(news.CERTIFICATE_REJECTED, connection.peer, remark)
            return
        reason = getattr(fault, "reason", None)
        of_certificate = isinstance(fault, ssl.SSLCertVerificationError) or reason == _NO_CERTIFICATE
        text = (
            f"TLS: {getattr(fault, 'verify_message', None) or reason or str(fault) or type(fault).__name__}"
        )
        self._turn_away(connection, text, event=news.CERTIFICATE_REJECTED if of_certificate else news.REFUSED)

    def welcome(self, connection: Connection) -> str:
        """Take a client in; in a full house another gives way (`protocols.modbus.places`)."""
        if not self.is_open:
            return "closed"
        limits = self._limits
        if self._register.counts(connection.host):
            source = source_of(connection.host)
            own = {each for each in self.connections if source_of(each.host) == source}
            bound = limits.per_address_max
            among = msgspec.structs.replace(
                limits, clients_max=bound, places_in_turn=min(bound, limits.places_in_turn)
            )
            if len(own) >= bound and not self._make_room(own, among):
                self._turn_away(connection, f"{bound} clients of its address are connected")
                return "full"
        if len(self.connections) >= limits.clients_max and not self._make_room(self.connections, limits):
            self._turn_away(connection, f"{limits.clients_max} clients are connected")
            return "full"
        self.connections.add(connection)
        self._budgets[connection] = self._register.budgets(connection.host, now_s=connection.came_s)
        caller = connection.caller
        name = "" if caller.how is Shown.NOTHING else f"{caller.name} "
        roles = "+".join(sorted(role.value for role in caller.roles)) or "no role"
        self._news.tell(news.CONNECTED, connection.peer, f"{name}as {roles}")
        return ""

    def farewell(self, connection: Connection, detail: str) -> None:
        """Forget a client; its last request may still be under way."""
        self.connections.discard(connection)
        self.retiring.discard(connection)
        del self._budgets[connection]
        if connection.answering is not None and not connection.answering.done():
            self._answering.add(connection.answering)
            connection.answering.add_done_callback(self._answering.discard)
        self._news.tell(news.DISCONNECTED, connection.peer, detail)

    def sweep(self, *, now_s: float, utc_s: float) -> None:
        """Let go whoever has been silent for too long, or whose certificate has ended, with what arrived answered."""
        for connection in tuple(self.connections):
            ends_s = connection.expires_utc_s
            if ends_s is not None and utc_s > ends_s:
                why = "its certificate has expired"
                if not connection.retired:
                    self._news.tell(news.CERTIFICATE_REJECTED, connection.peer, why)
                connection.retire(why, within_s=self._limits.close_s)
            elif not connection.busy and now_s - connection.heard_s > self._limits.idle_s:
                connection.retire(f"silent for {self._limits.idle_s:g} s", within_s=self._limits.close_s)

    def distrust(self) -> None:
        """Let those who came by TLS go: they have to show their certificates to the new trust."""
        for connection in tuple(self.connections):
            if connection.secured:
                connection.retire("its certificate has to be shown again", within_s=self._limits.close_s)

    def shut(self) -> None:
        """Let nobody in any more, and everybody go at once."""
        self.is_open = False
        for connection in (*self.connections, *self.retiring, *self._shaking):
            connection.drop("endpoint closed")
            if connection.shaking is not None and not connection.shaking.done():
                self._answering.add(connection.shaking)

    async def settle(self) -> None:
        """Wait for requests that were under way (at most `limits.close_s`)."""
        if self._answering:
            await asyncio.wait(self._answering, timeout=self._limits.close_s)
        for task in self._answering:
            task.cancel()
        self._answering.clear()
        # One turn of the loop lets the aborted transports close their sockets.
        await asyncio.sleep(0)

    def _make_room(self, among: set[Connection], limits: ModbusLimits) -> bool:
        now_s = asyncio.get_running_loop().time()
        leaving = who_gives_way(among, limits, now_s=now_s)
        if leaving is None:
            return False
        self.connections.discard(leaving)
        self.retiring.add(leaving)
        # What it had asked for may be a stop: it is carried out.
        leaving.retire("gave its place to a newcomer", within_s=limits.close_s)
        return True
