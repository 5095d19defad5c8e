"""What the raylet runs in the interpreter's place: `python -IS launcher.py FOLDER …the worker's command line…`.

It has the worker forked (see `launch`) or becomes the interpreter that it stands for. It lies beside the program, not
in the run's folder: so it needs no right to execute there, nobody can put another in its place, and a folder that has
gone means cold starts. The run's token is in that folder, in a file that only its owner can read, and in no text that a
traceback could show.
"""

from __future__ import annotations

import os
import sys

_SETUP = "/setup_worker.py"
_CONTEXT = "--serialized-runtime-env-context="
_LANGUAGE = "--language="
_TOKEN_BYTES_MAX = 128


def workers_command(arguments: list[str]) -> list[str]:
    """Return the worker's command line as the raylet gives it to an interpreter.

    Where there is no runtime environment it takes out setup_worker.py and adds nothing for it, but only when it finds
    it in the second place, where we stand (see guard.py).
    """
    if (
        not arguments
        or not arguments[0].endswith(_SETUP)
        or any(each.startswith(_CONTEXT) for each in arguments)
    ):
        return arguments
    return [each for each in arguments[1:] if not each.startswith(_LANGUAGE)]


def main() -> None:
    """Return when the worker has been forked; otherwise this process becomes the cold worker."""
    folder = sys.argv[1]
    sys.argv[1:] = command = workers_command(sys.argv[2:])
    try:
        code = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
        sys.path.append(code)
        from supervisors.forking.launch import launch  # noqa: PLC0415  nothing may fail outside of this `try`

        with open(f"{folder}/token", "rb") as file:  # noqa: PTH123  pathlib costs 5 ms
            token = bytes.fromhex(file.read(_TOKEN_BYTES_MAX).decode())
        launch(interpreter=sys.executable, socket_path=f"{folder}/host", token=token)
    except Exception:  # noqa: BLE001  a worker that starts cold is told apart by its birth; one that does not start is lost
        os.execv(sys.executable, [sys.executable, *command])  # noqa: S606  the raylet's own command


if __name__ == "__main__":
    main()
