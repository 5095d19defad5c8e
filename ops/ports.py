"""Free ports for programs that this machine starts beside others: of the bench and of the tests."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 20_000
_HIGHEST_UNKNOWN: Final = 32_768
_TRIES_MAX: Final = 10_000


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody listens on, all different.

    None is of the range from which the kernel takes the ports of clients and of whoever asks for any: until the program
    binds its own, seconds later, another process would get it.

    Raises:
        OSError: there are not so many.

    """
    try:
        highest = int(_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        highest = _HIGHEST_UNKNOWN
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        for _ in range(_TRIES_MAX):
            if len(ports) == count:
                return ports
            # A choice, no secret; two programs that choose at once shall not choose alike.
            port = random.SystemRandom().randrange(min(_LOWEST, highest - 1000), highest)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
    raise OSError(f"no {count} free ports below {highest}")
