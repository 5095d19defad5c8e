"""Requests that nobody sends by mistake for long: written down, few of each client's, whoever sent them (SEC-5)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from actors.vocabulary.users import Principal
from api.access.guarding import PRINCIPAL
from api.access.security_log import SecurityLog
from api.guard import BODY_KEY

WHY: Final = "calejo.why"
"""Where in its scope the reason of a request's refusal stands."""
_READS: Final = frozenset({"GET", "HEAD"})
_FILES: Final = "/static/"
# No name of ours holds anything else, and no path of ours goes up.
_ODD: Final = re.compile(r"[^A-Za-z0-9/_.:@~-]|\.\.|//")


def refused_request(log: SecurityLog, why: str, scope: Any) -> None:
    """Write down a request that was refused, with whom it came from where that is known."""
    client, principal = scope.get("client"), scope.get(PRINCIPAL)
    is_known = isinstance(principal, Principal)
    log.refused(
        "REQUEST_REFUSED",
        why,
        actor=principal.user_id if isinstance(principal, Principal) else "",
        peer="" if client is None else f"{client[0]}:{client[1]}",
        subject=scope["path"],
        is_known=is_known,
    )


def told_of_answer(log: SecurityLog, status: int, scope: Any) -> None:
    """Write down an answer to what tries the form of things: filters that are none, paths that lead nowhere.

    A command that is refused has an event of its own; a name that might be somebody's and is nobody's is no attack.
    """
    if BODY_KEY not in scope:
        return  # refused before it was read, and told so
    if (status == HTTPStatus.BAD_REQUEST and scope["method"] in _READS) or (
        status == HTTPStatus.NOT_FOUND and _leads_nowhere(scope)
    ):
        refused_request(log, str(scope.get(WHY) or HTTPStatus(status).phrase), scope)


def _leads_nowhere(scope: Any) -> bool:
    path = str(scope["path"])
    return path.startswith(_FILES) or _ODD.search(path) is not None
