"""What forking leans on in Ray, checked on the Ray that is installed. A new Ray: go through this file.

1. Raise the pin in pyproject.toml and `guard.RAY_VERSION`, then run this file and tests/ray/test_forking.py.
2. What fails here names the private detail (see `guard.DETAILS` for what it is used for) that has moved.
3. Then `make prove ARGS=tests/ray` for the long ones, and `make bench` for the figures.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import services

from supervisors.forking import guard
from supervisors.forking.service import NO_JOB
from supervisors.forking.template import WORKER_SCRIPT
from supervisors.on_ray.session import RaySession
from tests.ray.forking_for_tests import Looker

pytestmark = pytest.mark.ray

# Of Ray 2.60.0's default_worker.py. Read the new one before this changes: it is executed in forked processes.
WORKER_SCRIPT_SHA256 = "797c8e149c69887280188cc800c051231ea98afca712929746bdd351291866c0"


def test_the_pin_is_the_ray_that_is_installed() -> None:
    """SUP-8: a release of Calejo forks; with another Ray it says so and starts cold."""
    assert version("ray") == guard.RAY_VERSION
    assert guard.reason_against() == ""
    assert len({detail.where for detail in guard.DETAILS}) == len(guard.DETAILS)
    assert all(all(detail) for detail in guard.DETAILS)


def test_the_worker_script_is_the_one_we_know() -> None:
    """SUP-8: it runs as __main__ in the fork; everything is under its `if`, nothing reads the process's birth."""
    assert hashlib.sha256(WORKER_SCRIPT.read_bytes()).hexdigest() == WORKER_SCRIPT_SHA256


def test_servers_are_started_by_the_class_that_we_replace() -> None:
    """SUP-8: command and environment pass through `services.ConsolePopen`, looked up at each call."""
    source = inspect.getsource(services.start_ray_process)
    assert "process = ConsolePopen(\n        command,\n        env=modified_env," in source
    raylet = inspect.getsource(services.start_raylet)
    assert 'f"--python_worker_command={subprocess.list2cmdline(start_worker_command)}"' in raylet
    assert (
        "start_worker_command = (\n        [\n            sys.executable,\n            setup_worker_path,"
        in raylet
    )


def test_the_nil_job_and_the_configuration_are_as_we_use_them() -> None:
    """SUP-8: the nil job's name, and the call that reads RAY_ variables again."""
    from ray._raylet import Config  # type: ignore[attr-defined]

    assert ray.JobID.nil().hex() == NO_JOB
    assert callable(Config.initialize)


def test_importing_ray_starts_nothing() -> None:
    """SUP-8: one thread and no descriptor more than before, in a process of its own."""
    look = (
        "import os, ray, ray._private.workers.default_worker;"
        "print(len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd')) - 1)"
    )
    environment = {**os.environ, "RAY_JOB_ID": NO_JOB, "RAY_RAYLET_PID": str(os.getpid())}
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    assert done.stdout.split() == ["1", "3"]


def test_the_raylet_has_our_launcher_in_its_worker_command(ray_session: RaySession) -> None:
    """SUP-8: between the interpreter and setup_worker.py, which it drops in the raylet's place; no token in it."""
    node = vars(ray._private.worker)["_global_node"]
    pid = node.all_processes["raylet"][0].process.pid
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    (option,) = [each for each in command if each.startswith("--python_worker_command=")]
    assert ray_session.temp_dir is not None
    launcher = str(Path(guard.__file__).with_name("launcher.py"))
    folder = f"{ray_session.temp_dir}/f"
    assert option.split()[:4] == [f"--python_worker_command={sys.executable}", "-IS", launcher, folder]
    assert option.split()[4].endswith("/setup_worker.py")
    assert (ray_session.temp_dir / "f" / "token").read_text() not in "".join(command)


def test_a_runtime_environment_is_marked_as_we_know_it(ray_session: RaySession) -> None:
    """SUP-8: --serialized-runtime-env-context= tells such a worker; it starts cold and has its environment."""
    options: dict[str, Any] = {"num_cpus": 0, "runtime_env": {"env_vars": {"CALEJO_MARK": "1"}}}
    remote: Any = ray.remote(**options)(Looker)
    handle = remote.remote()
    facts = ray.get(handle.facts.remote(), timeout=60)
    assert facts["birth"] == "cold"
    assert facts["environment"]["CALEJO_MARK"] == "1"
    ray.kill(handle)
