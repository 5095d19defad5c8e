"""Where forking leans on what Ray does not promise, and whether this is the Ray that it was made for."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

RAY_VERSION: Final = "2.60.0"


class Detail(NamedTuple):
    """One private detail: where it is, what we do with it, and what breaks when it changes."""

    where: str
    what: str
    why: str


DETAILS: Final = (
    Detail(
        "ray._private.services.ConsolePopen",
        "Every server of a node is started by this class, which we replace while a node starts.",
        "It is how the raylet's command line is seen before it starts, and its pid right after.",
    ),
    Detail(
        "ray._private.services.start_raylet, option --python_worker_command",
        "The raylet starts workers by this command; we put the launcher in the interpreter's place.",
        "There is no setting for the interpreter of workers without a runtime environment (which costs a second"
        " import of Ray).",
    ),
    Detail(
        "raylet: a worker is known by its --worker-id and registers with its own pid",
        "The launcher that the raylet started ends; the forked process, no child of the raylet, registers.",
        "The raylet finds the starting worker by the id, and takes over the pid of whoever registers with it.",
    ),
    Detail(
        "raylet: only with a runtime environment it adds --serialized-runtime-env-context=",
        "Without one it drops setup_worker.py and --language=, but looks for it right behind the interpreter, where we"
        " are: the launcher drops both.",
        "Only then is a worker forked: a runtime environment may bring other modules, variables and interpreters.",
    ),
    Detail(
        "ray/_private/workers/default_worker.py",
        "Its source is executed in the forked process as __main__; what is registered with atexit runs at its end.",
        "It has no function to call; everything stands under `if __name__ == '__main__'`.",
    ),
    Detail(
        "RAY_JOB_ID, read once when _raylet.so is loaded; the nil job ffffffff fits every job",
        "The template is loaded with the nil job, as the workers are that the raylet starts ahead of any job.",
        "One template serves every job of the node. A worker of the nil job takes on a job with its first task.",
    ),
    Detail(
        "RAY_RAYLET_PID, read once when _raylet.so is loaded",
        "The template is started when the raylet's pid is known.",
        "A worker looks after this pid to end with its raylet.",
    ),
    Detail(
        "ray._raylet.Config.initialize('')",
        "Called in the forked process after its environment has been set.",
        "It reads every other RAY_ variable again, authentication and TLS among them.",
    ),
    Detail(
        "import ray starts no thread, opens no descriptor and draws no random number in C++",
        "The first two are verified before every fork, the third by a test.",
        "A thread would not live in the fork and could hold a lock; a drawn generator would repeat itself.",
    ),
)


def reason_against() -> str:
    """Return why workers are not forked here, '' when they can be."""
    if sys.platform != "linux":
        return f"{sys.platform} is not Linux"
    try:
        installed = version("ray")
    except PackageNotFoundError:
        return "Ray is not installed"
    if installed != RAY_VERSION:
        return f"Ray is {installed}, and forking is made for {RAY_VERSION} (a new one: tests/ray/test_forking_guard.py)"
    return ""
