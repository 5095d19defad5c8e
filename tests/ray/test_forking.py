"""Workers forked on real Ray. Goal: nobody can tell a forked worker from a cold one, but by its start and memory.

Method: the template is killed, stopped, reloaded and left without, and workers are started and compared meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from supervisors.forking.service import ForkedWorkers
from supervisors.on_ray.session import RaySession
from supervisors.process import alive
from tests.ray.forking_for_tests import looker, sockets_of, threads_of, zombies_below

pytestmark = pytest.mark.ray


def until(holds: Callable[[], Any], *, within_s: float = 30.0) -> Any:
    deadline_s = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < deadline_s, "not in time"
        time.sleep(0.02)
    return value


def get(answer: Any) -> Any:
    return ray.get(answer, timeout=30)


@pytest.fixture
def forking(ray_session: RaySession) -> ForkedWorkers:
    assert ray_session.forking is not None, "this machine can fork workers: the log says why it does not"
    until(lambda: ray_session.forking and ray_session.forking.status()["template"])
    return ray_session.forking


@pytest.fixture
def start() -> Iterator[Callable[[], Any]]:
    """Start lookers that end with the test."""
    started: list[Any] = []

    def one() -> Any:
        started.append(looker())
        return started[-1]

    yield one
    for handle in started:
        ray.kill(handle)


def _forked(start: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Start workers until one is forked: a cold one may have waited for work in Ray's pool."""
    for _ in range(20):
        handle = start()
        facts: dict[str, Any] = get(handle.facts.remote())
        if facts["birth"] == "forked":
            return handle, facts
    raise AssertionError("no worker was forked")


def _no_zombies(forking: ForkedWorkers) -> None:
    """A process counts as one until its last thread is gone; after that nobody may be left."""
    status = forking.status()
    until(lambda: not zombies_below({status["pid"], status["template"]}), within_s=5.0)


def test_a_forked_worker_is_what_the_raylet_would_have_started(
    forking: ForkedWorkers, start: Callable[[], Any]
) -> None:
    """SUP-8: group, niceness, oom score, signals, folder, environment and script are a cold worker's."""
    _, forked = _forked(start)
    os.kill(forking.status()["template"], signal.SIGSTOP)  # the next one starts cold
    cold: dict[str, Any] = {}
    while cold.get("birth") != "cold":
        cold = get(start().facts.remote())
    for each in (forked, cold):
        del each["pid"], each["birth"]
        del each["environment"]["RAY_JOB_ID"]  # of the nil job, as the workers that Ray starts ahead
    assert forked == cold
    until(lambda: forking.status()["template"])


def test_a_forked_worker_inherits_no_socket_and_the_template_keeps_one_thread(
    forking: ForkedWorkers, start: Callable[[], Any]
) -> None:
    """SUP-8: nothing that host, template or this process has open is open in a worker; the template never grows."""
    for _ in range(3):
        _, facts = _forked(start)
        status = forking.status()
        others = set.union(*(sockets_of(pid) for pid in (status["pid"], status["template"], os.getpid())))
        assert others
        assert not others & sockets_of(facts["pid"])
        assert threads_of(status["template"]) == 1
        assert threads_of(status["pid"]) == 1
        assert threads_of(facts["pid"]) > 1, "and this is how a thread would be seen"


def test_no_two_forked_workers_draw_the_same(forking: ForkedWorkers, start: Callable[[], Any]) -> None:
    """SUP-8: every source of chance, in Python, OpenSSL and Ray's C++, differs between forks of one template."""
    handles = [_forked(start)[0] for _ in range(6)]
    drawn = get([handle.draws.remote() for handle in handles])
    for source in drawn[0]:
        assert len({each[source] for each in drawn}) == len(drawn), source


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_death_of_the_template_is_felt_by_nobody(
    forking: ForkedWorkers, start: Callable[[], Any], number: signal.Signals
) -> None:
    """SUP-8: killed or hanging, its workers live on, new ones start meanwhile, and it is replaced."""
    handle, facts = _forked(start)
    template = forking.status()["template"]
    os.kill(template, number)
    meanwhile = start()
    assert get(meanwhile.pid.remote())
    assert get(handle.pid.remote()) == facts["pid"]
    until(lambda: forking.status()["template"] not in {None, template})
    assert not alive(template)
    _forked(start)
    os.kill(facts["pid"], signal.SIGKILL)  # its parent was the dead template: the host reaps it
    until(lambda: not alive(facts["pid"]))
    _no_zombies(forking)


def test_the_death_of_the_host_is_felt_by_nobody(forking: ForkedWorkers, start: Callable[[], Any]) -> None:
    """SUP-8: the template goes with it; workers live on, new ones start, and both come back."""
    handle, facts = _forked(start)
    status = forking.status()
    os.kill(status["pid"], signal.SIGKILL)
    assert get(start().pid.remote())
    assert get(handle.pid.remote()) == facts["pid"]

    def back() -> bool:
        try:
            return forking.status()["template"] is not None
        except OSError:
            return False

    until(back)
    assert not alive(status["template"])
    assert forking.status()["pid"] != status["pid"]
    _forked(start)


def test_a_reload_changes_the_template_and_touches_no_worker(
    forking: ForkedWorkers, start: Callable[[], Any]
) -> None:
    """SUP-8: the former template serves until the new one is ready; running workers keep their process."""
    handle, facts = _forked(start)
    before = forking.status()
    after = forking.reload()
    assert after["why"] == ""
    assert after["template"] not in {None, before["template"]}
    assert after["reloads"] == before["reloads"] + 1
    assert not alive(before["template"])
    assert get(handle.pid.remote()) == facts["pid"]
    _forked(start)


def test_a_dead_worker_leaves_no_zombie(forking: ForkedWorkers, start: Callable[[], Any]) -> None:
    """SUP-8: the kernel reaps forked workers; Ray notices each death by the event."""
    for _ in range(5):
        handle, facts = _forked(start)
        notice = handle.joined.remote()
        os.kill(facts["pid"], signal.SIGKILL)
        with pytest.raises(ray.exceptions.RayActorError):
            get(notice)
        until(lambda pid=facts["pid"]: not alive(pid))  # type: ignore[misc]
    _no_zombies(forking)
