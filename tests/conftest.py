"""What every test gets: the closing tables, the real services, and steady settings for property tests."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for several workers (`--dist loadgroup`): trees together, everything else by file.

    The trees come first: so the worker that has them has nothing else before, for which it would have given way.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(_TREES))
    for item in items:
        file = item.nodeid.partition("::")[0]
        name = "trees" if file.startswith(_TREES) else file
        item.add_marker(pytest.mark.xdist_group(name=name))


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
