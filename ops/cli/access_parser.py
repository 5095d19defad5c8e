"""The command line of access: `calejo users` and `calejo certs`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  (its only name)

# Spelled out: the parser must not import what the command needs. A test compares.
SERVERS: Final = ("rest", "opcua", "modbus")
ROLES: Final = ("READ_ONLY", "FIELD", "OPERATOR", "ENGINEER", "ADMINISTRATOR")


def add_access(commands: Commands, common: argparse.ArgumentParser, data: argparse.ArgumentParser) -> None:
    """Add the commands."""
    _add_users(commands, common, data)
    _add_certs(commands, common, data)


def _add_users(commands: Commands, common: argparse.ArgumentParser, data: argparse.ArgumentParser) -> None:
    users = commands.add_parser("users", help="who may do what")
    verbs = users.add_subparsers(required=True)
    table = verbs.add_parser("permissions", parents=[common, data], help="which role may do what")
    table.set_defaults(command="ops.cli.users:permissions")


def _add_certs(commands: Commands, common: argparse.ArgumentParser, data: argparse.ArgumentParser) -> None:
    certs = commands.add_parser("certs", help="certificates: make some for development, see when they expire")
    verbs = certs.add_subparsers(required=True)
    hosts = argparse.ArgumentParser(add_help=False)
    hosts.add_argument(
        "--host",
        action="extend",
        nargs="+",
        default=[],
        metavar="HOST",
        help="further names and addresses of this machine",
    )
    init = verbs.add_parser(
        "init",
        parents=[common, hosts],
        help="an authority, and a certificate for REST, OPC UA and Modbus each",
    )
    init.set_defaults(command="ops.cli.certs:init")
    show = verbs.add_parser("show", parents=[common, data], help="whose they are and when they expire")
    show.set_defaults(command="ops.cli.certs:show")
    renew = verbs.add_parser(
        "renew", parents=[common, hosts], help="a new key and certificate for one server"
    )
    renew.set_defaults(command="ops.cli.certs:renew")
    renew.add_argument("server", choices=SERVERS)
    client = verbs.add_parser(
        "client", parents=[common], help="a key and a certificate for a client, with its role"
    )
    client.set_defaults(command="ops.cli.certs:client")
    client.add_argument("name")
    client.add_argument("--role", required=True, choices=ROLES, type=str.upper)
