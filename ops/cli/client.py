"""Talks to a running Calejo over its REST API with the standard library only, so that a command starts in a moment."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ops.cli.exits import FAILED, NOT_RUNNING, REFUSED, USAGE, ExitError

if TYPE_CHECKING:
    from ops.rundir import RunFile

_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_BAD_REQUEST: Final = 400
_SERVER_ERROR: Final = 500


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


def call(base: str, method: str, path: str, *, body: Any = None, timeout_s: float = 5.0) -> Any:
    """Send one request and return the decoded answer.

    Raises:
        ConnectionError: nobody answered in time, or `base` is no URL.
        ExitError: (4) refused or not known, (2) not understood, (1) the server failed; the line is the detail.

    """
    try:
        where = urlsplit(base)
        host, port = where.hostname or "127.0.0.1", where.port
    except ValueError as error:
        text = f"{base}: no URL to call ({error})"
        raise ConnectionError(text) from error
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body, allow_nan=False)
        connection.request(method, path, body=content, headers=headers)
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
        return answer
    detail = answer.get("detail", "") if isinstance(answer, dict) else str(answer)
    if response.status >= _SERVER_ERROR:
        raise ExitError(FAILED, f"{path}: {detail or response.reason} ({response.status})")
    code = USAGE if response.status == _BAD_REQUEST else REFUSED
    raise ExitError(code, f"{detail or response.reason} ({response.status})")


def ask(data_dir: Path, method: str, path: str, *, body: Any = None, timeout_s: float = 5.0) -> Any:
    """Call the REST API of the run in `data_dir`.

    Raises:
        ExitError: as `running` and `call`; (1) when the run is there but its API does not answer.

    """
    run = running(data_dir)
    try:
        return call(run.rest, method, path, body=body, timeout_s=timeout_s)
    except ConnectionError as error:
        raise ExitError(FAILED, f"{error}; the API may be restarting: try again") from error
