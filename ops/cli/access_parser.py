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

    def verb(name: str, function: str, text: str) -> argparse.ArgumentParser:
        parser = verbs.add_parser(name, parents=[common, data], help=text)
        parser.set_defaults(command=f"ops.cli.users:{function}")
        return parser

    verb("permissions", "permissions", "which role may do what")
    verb("list", "listing", "every account")
    adding = verb("add", "add", "a new account; its generated password is shown once")
    adding.add_argument("name")
    adding.add_argument("--role", required=True, choices=ROLES, type=str.upper)
    adding.add_argument("--service", action="store_true", help="a program: it gets keys, no password")
    for name, function, text in (
        ("disable", "disable", "its sessions and keys are worth nothing from now on"),
        ("enable", "enable", "undo that"),
        ("reset", "reset", "a new password, shown once; takes a second factor away, ends all sessions"),
    ):
        verb(name, function, text).add_argument("name")
    role = verb("role", "set_role", "give an account another role")
    role.add_argument("name")
    role.add_argument("role", choices=ROLES, type=str.upper)
    sessions = verb("sessions", "sessions", "who is logged in; --end ends them")
    sessions.add_argument("name", nargs="?", default=None)
    sessions.add_argument("--end", action="store_true", help="end all sessions of NAME")
    verb("password", "password", "change one's own password (needs a terminal, or CALEJO_NEW_PASSWORD)")
    keys = verb("keys", "keys", "keys of a service account")
    keys.add_argument("name")
    keys.add_argument("--add", action="store_true", help="make one; it is shown once")
    keys.add_argument("--label", default="")
    keys.add_argument(
        "--only", action="extend", nargs="+", default=[], metavar="OPERATION", help="narrow it to these"
    )
    keys.add_argument("--days", type=float, default=None, help="how long it is good for")
    keys.add_argument("--revoke", default=None, metavar="KEY_ID")
    rotate = verb("rotate-signing-key", "rotate", "sign tokens with a new key from now on")
    rotate.add_argument(
        "--at-once", action="store_true", help="what was signed before is worth nothing: all log in"
    )


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
    listing = verbs.add_parser(
        "list", parents=[common, data], help="whom OPC UA trusts, as what, and whom it turned away"
    )
    listing.set_defaults(command="ops.cli.certs:listing")
    trust = verbs.add_parser(
        "trust", parents=[common], help="let an OPC UA program, or with --role a user, in"
    )
    trust.set_defaults(command="ops.cli.certs:trust")
    trust.add_argument(
        "certificate", help="a file, or one of `calejo certs list` by name or the beginning of its SHA-256"
    )
    trust.add_argument("--name", default="", help="what to call it; else the file's name")
    trust.add_argument(
        "--role", default="", choices=("", *ROLES), type=str.upper, help="it is a user's, with this role"
    )
    reject = verbs.add_parser("reject", parents=[common], help="let it in no longer; its sessions end")
    reject.set_defaults(command="ops.cli.certs:reject")
    reject.add_argument("certificate", help="as for trust")
