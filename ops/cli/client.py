"""Talks to a running Calejo over its REST API with the standard library only, so that a command starts in a moment.

A command shows one of three credentials: `CALEJO_TOKEN` from the environment (a service account's key), the login of
`--user`, or, on the machine of the run and as its owner, the credential that the run keeps in its data directory.
"""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from ops.cli.exits import FAILED, NOT_RUNNING, REFUSED, USAGE, ExitError
from ops.cli.identity import bearer, login_name

if TYPE_CHECKING:
    from ops.rundir import RunFile

_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_BAD_REQUEST: Final = 400
_SERVER_ERROR: Final = 500
_NOT_ALLOWED: Final = frozenset({401, 403})
_PAGES_MAX: Final = 1_000
_NEXT: Final = re.compile(r'<(/[^>]+)>; rel="next"')
_TOKEN: Final = "CALEJO_TOKEN"  # noqa: S105  (the variable's name)


def running(data_dir: Path) -> RunFile:
    """Return the live run of `data_dir`.

    Raises:
        ExitError: (3) none is running there.

    """
    from ops.rundir import find_run

    run = find_run(data_dir)
    if run is None:
        raise ExitError(NOT_RUNNING, f"Calejo is not running in {data_dir} (start it with `calejo run`)")
    return run


class NotAllowedError(ExitError):
    """REST does not know who asks, or they may not."""


def call(
    base: str,
    method: str,
    path: str,
    *,
    body: Any = None,
    timeout_s: float = 5.0,
    headers: Mapping[str, str] | None = None,
    certificate: str = "",
) -> Any:
    """Send one request and return the decoded answer. `certificate`: the file whose certificate an https server has.

    A list that comes by pages is walked to its end.

    Raises:
        ConnectionError: nobody answered in time, or `base` is no URL.
        ExitError: (4) refused or not known, (2) not understood, (1) the server failed; the line is the detail.
        NotAllowedError: (4) it is not known who asks, or they may not.

    """
    answer, following = _page(
        base, method, path, body=body, timeout_s=timeout_s, headers=headers, certificate=certificate
    )
    # A page whose caller wants that page only says so by `limit`.
    if method != "GET" or "limit=" in path:
        return answer
    for _ in range(_PAGES_MAX):
        if not following:
            return answer
        page, following = _page(
            base, "GET", following, body=None, timeout_s=timeout_s, headers=headers, certificate=certificate
        )
        answer = [*answer, *page]
    raise ExitError(FAILED, f"{base}{path}: the list has more than {_PAGES_MAX} pages")


def _page(
    base: str,
    method: str,
    path: str,
    *,
    body: Any,
    timeout_s: float,
    headers: Mapping[str, str] | None,
    certificate: str,
) -> tuple[Any, str]:
    """Return one answer, and the path of the page behind it, '' : there is none."""
    connection = _connection(base, timeout_s, certificate)
    try:
        sent = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
        content = None if body is None else json.dumps(body, allow_nan=False)
        connection.request(method, path, body=content, headers=sent)
        response = connection.getresponse()
        raw = response.read(_ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        text = f"{base}: no answer within {timeout_s:g} s ({str(error) or type(error).__name__})"
        raise ConnectionError(text) from error
    finally:
        connection.close()
    if len(raw) > _ANSWER_BYTES_MAX:
        raise ExitError(FAILED, f"{base}{path}: the answer is larger than {_ANSWER_BYTES_MAX} bytes")
    try:
        answer = json.loads(raw) if raw else None
    except ValueError as error:
        raise ExitError(
            FAILED, f"{base}{path}: answered {response.status} with something that is not JSON"
        ) from error
    if response.status < _BAD_REQUEST:
        link = _NEXT.match(response.headers.get("Link", ""))
        return answer, link[1] if link is not None and isinstance(answer, list) else ""
    detail = answer.get("detail", "") if isinstance(answer, dict) else str(answer)
    if response.status in _NOT_ALLOWED:
        raise NotAllowedError(REFUSED, f"{detail or response.reason} ({response.status})")
    if response.status >= _SERVER_ERROR:
        raise ExitError(FAILED, f"{path}: {detail or response.reason} ({response.status})")
    code = USAGE if response.status == _BAD_REQUEST else REFUSED
    raise ExitError(code, f"{detail or response.reason} ({response.status})")


def ask(data_dir: Path, method: str, path: str, *, body: Any = None, timeout_s: float = 5.0) -> Any:
    """Call the REST API of the run in `data_dir`, as whoever this command is.

    Raises:
        ExitError: as `running` and `call`; (1) when the run is there but its API does not answer.

    """
    try:
        return ask_run(running(data_dir), data_dir, method, path, body=body, timeout_s=timeout_s)
    except ConnectionError as error:
        raise ExitError(FAILED, f"{error}; the API may be restarting: try again") from error


def ask_run(
    run: RunFile, data_dir: Path, method: str, path: str, *, body: Any = None, timeout_s: float = 5.0
) -> Any:
    """Call the REST API of a run, as whoever this command is.

    Raises:
        ConnectionError: it does not answer.
        ExitError: as `call`.

    """
    headers = credentials(data_dir)
    if isinstance(body, dict) and "by" in body and headers.get("Authorization", "").startswith("Bearer"):
        # Who is logged in is who does it.
        body = {name: value for name, value in body.items() if name != "by"}
    with _told_how_to_log_in(data_dir, headers):
        return call(
            run.rest, method, path,
            body=body, timeout_s=timeout_s, headers=headers, certificate=run.rest_certificate,
        )  # fmt: skip


def ask_page(run: RunFile, data_dir: Path, path: str, *, timeout_s: float) -> tuple[Any, str]:
    """Return one page of a list of a run, and the cursor of the page behind it, '': there is none.

    Raises:
        ConnectionError, ExitError: as `ask_run`.

    """
    headers = credentials(data_dir)
    with _told_how_to_log_in(data_dir, headers):
        answer, following = _page(
            run.rest, "GET", path,
            body=None, timeout_s=timeout_s, headers=headers, certificate=run.rest_certificate,
        )  # fmt: skip
    return answer, parse_qs(urlsplit(following).query).get("cursor", [""])[0]


@contextmanager
def _told_how_to_log_in(data_dir: Path, headers: Mapping[str, str]) -> Iterator[None]:
    """Add to a refusal of somebody who showed nothing what they could show."""
    try:
        yield
    except NotAllowedError as error:
        if headers:
            raise
        raise NotAllowedError(REFUSED, f"{error.line} Who may not read {data_dir}: --user NAME") from error


def credentials(data_dir: Path) -> dict[str, str]:
    """Return the headers that say who asks; none when there is nothing to show.

    Raises:
        ExitError: as `ops.cli.identity.bearer`.

    """
    if token := os.environ.get(_TOKEN):
        return {"Authorization": f"Bearer {token}"}
    if token := bearer(lambda path, body: _sign_in(data_dir, path, body)):
        return {"Authorization": f"Bearer {token}"}
    from storage.local_credential import LocalCredential

    secret = LocalCredential(data_dir).read()
    if not secret:
        return {}
    return {"Authorization": f"Calejo-Local {secret}", "Calejo-By": quote(login_name())}


def _sign_in(data_dir: Path, path: str, body: dict[str, str]) -> Any:
    run = running(data_dir)
    try:
        return call(run.rest, "POST", path, body=body, timeout_s=15.0, certificate=run.rest_certificate)
    except ConnectionError as error:
        raise ExitError(FAILED, f"{error}; the API may be restarting: try again") from error


def _connection(base: str, timeout_s: float, certificate: str) -> http.client.HTTPConnection:
    """Return a connection, not yet open.

    Raises:
        ConnectionError: `base` is no URL, or the certificate cannot be read.

    """
    try:
        where = urlsplit(base)
        host, port = where.hostname or "127.0.0.1", where.port
    except ValueError as error:
        text = f"{base}: no URL to call ({error})"
        raise ConnectionError(text) from error
    if where.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    from ops.cli.pinned import PinnedConnection

    return PinnedConnection(host, port, timeout_s=timeout_s, certificate=Path(certificate))
