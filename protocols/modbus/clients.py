"""Which clients a Modbus endpoint lets in and as what: networks with roles, certificates with one; pure (MOD-4, SEC-2).

Without an allow list only this machine is let in, as a controller and an operator at once: that is what makes the
two commands of the demo work. With one nobody is let in who does not stand there, this machine included.
"""

from __future__ import annotations

import ipaddress
from typing import Final, TypeAlias

import msgspec

from actors.vocabulary import InvalidValueError
from actors.vocabulary.access import Operation, UserRole
from actors.vocabulary.callers import Caller, Shown
from protocols.modbus.limits import is_loopback
from protocols.modbus.points import ACKNOWLEDGE, AUTO_COMMAND, MANUAL_COMMAND, MODE_REQUEST, SETPOINT_REQUEST
from protocols.points import FEEDBACK_POINTS

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Roles: TypeAlias = frozenset[UserRole]

LOOPBACK_ROLES: Final[Roles] = frozenset({UserRole.FIELD, UserRole.OPERATOR})
ENTRIES_MAX: Final = 256
EXPECTED: Final = (
    "expected NETWORK=ROLE, more roles with + and more entries with commas between, such as"
    " 10.1.0.0/24=FIELD, 10.2.0.5=OPERATOR+FIELD"
)
_SHOWN_MAX: Final = 60

OPERATIONS: Final = {
    **dict.fromkeys(FEEDBACK_POINTS, Operation.WRITE_FEEDBACK),
    "scada_heartbeat": Operation.WRITE_HEARTBEAT,
    "emergency_stop": Operation.SET_STOP,
    SETPOINT_REQUEST: Operation.REQUEST_SETPOINT,
    MODE_REQUEST: Operation.SET_MODE,
    AUTO_COMMAND: Operation.SET_MODE,
    MANUAL_COMMAND: Operation.SET_MODE,
    ACKNOWLEDGE: Operation.ACKNOWLEDGE_ALARM,
}
"""What writing a point is, in the permission table."""


def _unnamed(roles: Roles) -> Caller:
    """Return a caller of whom nothing is known but where it comes from."""
    return Caller(name="anonymous", roles=roles, how=Shown.NOTHING)


LOCAL: Final = _unnamed(LOOPBACK_ROLES)
NOBODY: Final = _unnamed(frozenset())
"""Who may do nothing: somebody before the handshake, or whose certificate carries no role."""


class AllowList(msgspec.Struct, frozen=True):
    """Networks and what a client from there is allowed as; none: this machine alone."""

    networks: tuple[tuple[Network, Roles], ...] = ()

    def caller(self, host: str) -> Caller | None:
        """Return who a client from this address is, None if it is not let in; the narrowest network counts."""
        if not self.networks:
            return LOCAL if is_loopback(host) else None
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        holding = [
            (network.prefixlen, roles)
            for network, roles in self.networks
            if network.version == address.version and address in network
        ]
        return _unnamed(max(holding, key=lambda each: each[0])[1]) if holding else None


def allow_list(text: str) -> AllowList:
    """Return the list of `NETWORK=ROLE[+ROLE]` entries with commas between; an empty text gives an empty one.

    Raises:
        InvalidValueError: no network, no role, a network twice, or too many entries; the text names the entry.

    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if len(entries) > ENTRIES_MAX:
        raise InvalidValueError(f"{len(entries)} entries, at most {ENTRIES_MAX} expected")
    networks: dict[Network, Roles] = {}
    for entry in entries:
        place, given, named = entry.partition("=")
        try:
            network = ipaddress.ip_network(place.strip())
            roles = frozenset(UserRole(name.strip().upper()) for name in named.split("+"))
        except ValueError as error:
            why = str(error) if given else "no role"
            raise InvalidValueError(f"{entry[:_SHOWN_MAX]!r}: {why}; {EXPECTED}") from None
        if network in networks:
            raise InvalidValueError(f"{entry[:_SHOWN_MAX]!r}: {network} stands there twice")
        networks[network] = roles
    return AllowList(tuple(networks.items()))


def role_named(text: str) -> UserRole | None:
    """Return the role that a certificate's text names; None: we know no such role.

    Case, spaces and hyphens do not count: other tools write `Read-Only`.
    """
    plain = text.strip().upper().replace(" ", "_").replace("-", "_")
    return UserRole(plain) if plain in set(UserRole) else None
