"""What every test gets: the closing tables, the real services, and steady settings for property tests."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = [
    "tests.services",
    "tests.reporting",
    "tests.shared_ray",
]  # in this order: reporting imports services

# A shared machine stalls now and then, so slowness is no finding. Continuous integration repeats the same
# examples in each run; elsewhere each run looks at new ones and prints how to repeat a failure.
settings.register_profile(
    "calejo",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("calejo")


# Where whole trees of real processes run: one worker, so that there is one Ray and never two demos at a time.
_TREES = ("tests/chaos/", "tests/ray/", "tests/wire/run/", "tests/wire/demo/", "tests/browser/demo/")
_NICE_BESIDE_TREES = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the trees first: so the worker that has them has nothing else before, for which it would have given way."""
    items.sort(key=lambda item: not item.nodeid.startswith(_TREES))


class _TreesTogether(LoadScopeScheduling):  # type: ignore[misc]  # untyped
    """What goes to one worker as a whole: all trees; of the rest, each file.

    Not by `--dist loadgroup`: with pytest 9.2, xdist 3.8 finds no group, without a word.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "trees" if file.startswith(_TREES) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _TreesTogether:
    """Share the tests among several workers."""
    return _TreesTogether(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the tests beside the trees give way to them: what a killed process needs to come back is judged there."""
    beside = not item.nodeid.startswith(_TREES)
    if beside and "PYTEST_XDIST_WORKER" in os.environ and os.nice(0) == 0:
        _give_way()


def _give_way() -> None:
    """Lower this worker's priority, and that of all it starts.

    Linux groups processes by session (sched_autogroup) and shares the processors among the groups: niceness decides
    within a group only, and every program started in a session of its own would compete with ours as an equal.
    """
    os.nice(_NICE_BESIDE_TREES)
    with suppress(OSError):  # no such kernel, or not allowed: niceness alone has to do
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(_NICE_BESIDE_TREES))


def pytest_configure(config: pytest.Config) -> None:
    """Take back what a shell does to a run in its background: all that it starts would ignore Ctrl-C, too."""
    del config
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
