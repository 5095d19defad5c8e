"""The bounds of a Modbus endpoint, and the buckets that hold clients to them; pure."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.vocabulary.sources import plain, source_of

FRAME_BYTES_MAX: Final = 260
"""The longest frame of Modbus TCP: a header of 7 bytes and a PDU of 253."""


class ModbusLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one endpoint: nobody who reads can lock out a controller or an emergency stop.

    Places: a full house has one for a newcomer all the same (`protocols.modbus.places`), so that a controller that
    reconnects gets in, and so does a coil that stops pumps. Who gives way: first whoever has been silent, then a
    client that only reads, last one that writes, the least recently writing first. All but the last
    `places_in_turn` places are kept by those who came first, the others go round. An address has a bound of its own,
    within which its own connections give way to each other.

    Requests: reads and writes are counted apart. A client (an address; on loopback, where everybody has the same, a
    connection) has its own bound, and up to a share of it is sure of an answer whatever others ask; above their
    shares all clients together draw from one pool. What is above is answered 06 (busy). Writing the coil of an
    emergency stop is never limited.
    """

    clients_max: int = 64
    places_in_turn: int = 8
    # Connections of one address, at any moment.
    per_address_max: int = 16
    # New connections of one address.
    connects_per_s: float = 10.0
    connects_burst: int = 50
    # Everybody on this machine has one address: there each connection is a client of its own.
    loopback_exempt: bool = True
    # A silent client goes after this long; only whole frames count as life.
    idle_s: float = 60.0
    # When the house is full: one that never asked anything may go after the first, any other after the
    # second.
    evict_unheard_s: float = 0.1
    evict_silent_s: float = 5.0
    # One client, reads and writes each.
    requests_per_s: float = 1000.0
    requests_burst: int = 2000
    # Of these each client is sure: a controller needs one or two per pump and second.
    share_per_s: float = 50.0
    share_burst: int = 100
    # All clients together above their shares, reads and writes each.
    pool_per_s: float = 2000.0
    pool_burst: int = 4000
    # Bytes of unanswered requests after which we stop reading from a client: its pipeline.
    pending_bytes_max: int = 16 * FRAME_BYTES_MAX
    # Bytes a client may leave unread before it is dropped.
    unread_bytes_max: int = 65_536
    # TLS handshakes under way, of all and of one address; beyond them the oldest gives way.
    handshakes_max: int = 32
    handshakes_per_address_max: int = 4
    handshake_s: float = 5.0
    news_per_s: float = 20.0
    news_burst: int = 200
    close_s: float = 2.0


class Bucket:
    """A token bucket: `burst` at once, `per_s` in the long run; time (s, any origin) is an argument."""

    def __init__(self, per_s: float, burst: int) -> None:
        """Start full."""
        self._per_s, self._burst = per_s, float(burst)
        self._tokens, self._at_s = float(burst), 0.0

    def take(self, now_s: float) -> bool:
        """Take one token; False: there is none."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Budget:
    """What one client may ask: its own bound, and within it a sure share or what the common pool has."""

    def __init__(self, limits: ModbusLimits, pool: Bucket) -> None:
        """Start full; `pool` belongs to all."""
        self._own = Bucket(limits.requests_per_s, limits.requests_burst)
        self._share = Bucket(limits.share_per_s, limits.share_burst)
        self._pool = pool

    def take(self, now_s: float) -> bool:
        """Take one request; False: it is one too many."""
        return self._own.take(now_s) and (self._share.take(now_s) or self._pool.take(now_s))


class Budgets(msgspec.Struct, frozen=True):
    """What one client may ask, reads and writes apart."""

    reads: Budget
    writes: Budget


class _Address:
    """What is remembered of one address, also while nobody is connected from it."""

    def __init__(self, limits: ModbusLimits, budgets: Budgets) -> None:
        self.connects = Bucket(limits.connects_per_s, limits.connects_burst)
        self.budgets = budgets
        self.seen_s = 0.0


ADDRESSES_MAX: Final = 1024


class Register:
    """The budgets of every client, kept by address: who hangs up and calls again has what it had left."""

    def __init__(self, limits: ModbusLimits) -> None:
        """Start with nobody."""
        self._limits = limits
        self._read_pool = Bucket(limits.pool_per_s, limits.pool_burst)
        self._write_pool = Bucket(limits.pool_per_s, limits.pool_burst)
        self._addresses: dict[str, _Address] = {}

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._addresses)

    def counts(self, host: str) -> bool:
        """Say whether connections from `host` share the bounds of an address."""
        return not (self._limits.loopback_exempt and is_loopback(host))

    def may_connect(self, host: str, *, now_s: float) -> bool:
        """Take one new connection of an address; False: it is one too many."""
        return not self.counts(host) or self._of(host, now_s=now_s).connects.take(now_s)

    def budgets(self, host: str, *, now_s: float) -> Budgets:
        """Return what a connection from `host` may ask."""
        return self._of(host, now_s=now_s).budgets if self.counts(host) else self._new_budgets()

    def _of(self, host: str, *, now_s: float) -> _Address:
        source = source_of(host)
        found = self._addresses.get(source)
        if found is None:
            if len(self._addresses) >= ADDRESSES_MAX:
                # Whoever is connected goes on with the budgets it holds.
                del self._addresses[min(self._addresses, key=lambda each: self._addresses[each].seen_s)]
            found = self._addresses[source] = _Address(self._limits, self._new_budgets())
        found.seen_s = now_s
        return found

    def _new_budgets(self) -> Budgets:
        return Budgets(Budget(self._limits, self._read_pool), Budget(self._limits, self._write_pool))


def is_loopback(host: str) -> bool:
    """Say whether an address is this machine's own; a name is none."""
    try:
        return plain(host).is_loopback
    except ValueError:
        return False
