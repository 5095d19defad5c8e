"""The settings a command works with: its options, the environment, the file, the defaults."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ops.cli.exits import FAILED, ExitError

if TYPE_CHECKING:
    from actors.vocabulary import Settings
    from ops.settings import Loaded


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Load the settings as the command line asks.

    Raises:
        ExitError: (1) the configuration is wrong; the line says which key, value and expectation.

    """
    return loaded_of(arguments).settings


def loaded_of(arguments: argparse.Namespace) -> Loaded:
    """Load the settings as the command line asks, with the source of each.

    Raises:
        ExitError: as `settings_of`.

    """
    from actors.vocabulary import InvalidValueError
    from ops.settings import from_process

    options = {
        "data_dir": None if arguments.data_dir is None else str(arguments.data_dir),
        "ports.opcua": getattr(arguments, "opcua_port", None),
        "ports.modbus": getattr(arguments, "modbus_port", None),
        "api.rest": getattr(arguments, "rest_port", None),
        "api.health": getattr(arguments, "health_port", None),
    }
    try:
        return from_process(arguments.config, options)
    except InvalidValueError as error:
        raise ExitError(FAILED, str(error)) from error


def data_dir_of(arguments: argparse.Namespace) -> Path:
    """Return the data directory, whatever else a configuration file says: a stop does not wait for a good one.

    Raises:
        ExitError: (1) the file would have to say it, and cannot be read.

    """
    if arguments.data_dir is not None:
        return Path(arguments.data_dir).expanduser().resolve()
    from actors.vocabulary import InvalidValueError

    if arguments.config is None and "CALEJO_CONFIG" not in os.environ:
        return Path(os.environ.get("CALEJO_DATA_DIR") or ".calejo").expanduser().resolve()
    from ops.settings import data_directory, named_file

    file = arguments.config or named_file(os.environ)
    try:
        return data_directory(file=file, environment=os.environ, option=None)
    except InvalidValueError as error:
        raise ExitError(FAILED, f"{error} (or name the folder with --data-dir)") from error
