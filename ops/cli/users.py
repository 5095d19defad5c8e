"""`calejo users`: who may do what."""

from __future__ import annotations

import argparse

from actors.vocabulary.access import PERMISSIONS, UserRole
from ops.cli.exits import DONE
from ops.cli.output import show


def permissions(arguments: argparse.Namespace) -> int:
    """Print the permission table; needs no running Calejo."""
    rows = [
        {
            "operation": operation.value,
            **{role.value: role in row.roles for role in UserRole},
            "meaning": row.meaning,
        }
        for operation, row in PERMISSIONS.items()
    ]
    show(rows, ("operation", *UserRole, "meaning"), form=arguments.format)
    return DONE
