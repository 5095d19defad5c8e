"""What the template imports: exactly what the roles need, so that a fork imports next to nothing itself.

`tests/ray` holds the list against what forked workers of every role have imported themselves after their start.
"""

from __future__ import annotations

import importlib
from typing import Final

# Ray's worker, and what it imports only when it is connected or first used.
RAY: Final = (
    "ray",
    "ray._private.workers.default_worker",
    "ray._private.external_storage",
    "ray._private.arrow_serialization",
    "ray._common.usage.usage_lib",
    "ray.util.serialization_addons",
    "ray.util.tracing.tracing_helper",
    "ray._common.pydantic_compat",
)
# Everybody's, then each role's: see supervisors/roles.py and supervisors/adapters.py.
OURS: Final = (
    "supervisors.on_ray.worker",
    "supervisors.on_ray.runtime",
    "supervisors.roles",
    "supervisors.adapters",
    "supervisors.supervisor",
    "supervisors.tree",
    "supervisors.memory",
    "actors.safety.actor",
    "actors.pump.actor",
    "actors.plan.actor",
    "actors.station.actor",
    "actors.publisher.actor",
    "actors.watchdog.actor",
    "actors.alarm.actor",
    "actors.storage.actor",
    "actors.discovery.actor",
    "actors.outbox",
    "api.access.security_log",
    "api.access.wire_users",
    "api.actor",
    "protocols.points",
    "protocols.opcua.admission",
    "protocols.opcua.server",
    "protocols.modbus.clients",
    "protocols.modbus.limits",
    "protocols.modbus.points",
    "protocols.modbus.server",
    "protocols.modbus.tls",
    "protocols.sparkplug.endpoint",
    "protocols.sparkplug.names",
    "storage.audit_desk",
    "storage.audit_reader",
    "storage.certificates",
    "storage.checkpoints",
    "storage.decisions",
    "storage.engine",
    "storage.epochs",
    "storage.files",
    "storage.history",
    "storage.latches",
    "storage.limits",
    "storage.modes",
    "storage.opcua_pki",
    "storage.past",
    "storage.past_rows",
    "storage.timers",
    "storage.readers",
    "storage.sparkplug",
    "storage.requests",
    "storage.retention",
    "storage.spool",
    "storage.topology_file",
    "storage.trends",
    "storage.users",
    "storage.urls",
    "storage.writer",
)
# What those import at their first use.
LATER: Final = (
    "aiosqlite",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "asyncio",
    "asyncua.server.standard_address_space.standard_address_space",
    "colorsys",
    "encodings.ascii",
    "litestar._kwargs.kwargs_model",
    "litestar.exceptions.responses",
    "litestar.middleware._internal.exceptions",
    "litestar.middleware.allowed_hosts",
    "litestar.middleware.csrf",
    "litestar.middleware.response_cache",
    "uvicorn.lifespan.off",
    "sysconfig",
    "zoneinfo",
)


REQUIRED: Final = frozenset((*RAY[:2], *OURS))


def load() -> list[str]:
    """Import everything; return what cannot be imported here and only saves time (a worker would fail alike).

    Raises whatever a module raises that a worker cannot do without.
    """
    missing = []
    for name in (*RAY, *OURS, *LATER):
        try:
            importlib.import_module(name)
        except Exception as error:
            if name in REQUIRED:
                raise
            missing.append(f"{name}: {type(error).__name__}")
    return missing
