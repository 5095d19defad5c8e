"""`calejo run --address`: goal: on one cluster each data directory has its own tree, and finds it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisors.on_ray.session import RaySession
from supervisors.process import alive
from tests.program import Program, until

pytestmark = [pytest.mark.ray, pytest.mark.chaos]

# Root, storage, discovery, alarm and API.
PROCESSES = 5


@pytest.fixture
def programs(ray_session: RaySession, tmp_path: Path) -> Iterator[tuple[Program, Program]]:
    both = [Program(tmp_path / name, "--address", ray_session.address) for name in ("one", "other")]
    for program in both:
        program.command("db", "upgrade")
    yield both[0], both[1]
    for program in both:
        if program.process is not None:
            program.stop()


def pids(program: Program) -> dict[str, int]:
    """Return who lives, once everybody of a plant without stations runs; it is never ready, it controls nothing."""

    def whole() -> dict[str, int] | None:
        try:
            nodes = [node for node in program.tree().values() if node["kind"] == "process"]
        except OSError:  # nobody listens yet
            return None
        running = {node["address"]: node["pid"] for node in nodes if node["state"] == "running"}
        return running if len(running) == len(nodes) == PROCESSES else None

    return until(whole, within_s=60, what=lambda: "the tree:\n" + "\n".join(program.output[-10:]))


def taken_over(program: Program) -> bool:
    return any("taken over" in line for line in program.output)


def test_each_directory_has_its_tree_and_a_killed_run_is_followed_by_one_that_takes_it_over(
    programs: tuple[Program, Program],
) -> None:
    """HA-1, SUP-4: kill -9 of the foreground, the next run takes over what lives and has the ports."""
    one, other = programs
    before = pids(one.start())
    assert not set(pids(other.start()).values()) & set(before.values())

    one.kill()
    assert all(map(alive, before.values())), "detached: they outlive their foreground on a cluster"
    one.start()
    until(lambda: taken_over(one), within_s=30, what="the line of who takes over")
    assert pids(one) == before

    assert other.stop() == 0
    assert pids(one) == before, "the end of one run is not the end of another's tree"
    assert one.stop() == 0
    until(lambda: not any(map(alive, before.values())), within_s=10, what="the end of the tree and its root")


def test_ports_that_others_hold_and_new_settings(programs: tuple[Program, Program]) -> None:
    """Issue 2, HA-1: a taken port ends the run with one line and touches nobody; other settings mean another tree."""
    one, other = programs
    before = pids(one.start())
    other.rest = one.rest
    other.start()
    assert other.process is not None
    assert other.process.wait(timeout=60) == 1
    until(lambda: any(f"port {one.rest}" in line for line in other.output), within_s=5, what="the line")
    assert pids(one) == before

    one.kill()
    one.environment["CALEJO_CONTROL__PERIOD_S"] = "2"
    one.start()
    until(
        lambda: not any(map(alive, before.values())), within_s=30, what="the end of the tree of old settings"
    )
    assert not set(pids(one).values()) & set(before.values())
    assert not taken_over(one)
