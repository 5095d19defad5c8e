"""What every test gets: the closing tables, the real services, and steady settings for property tests."""

import os
import signal

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


def pytest_configure(config: pytest.Config) -> None:
    """Take back what a shell does to a run in its background: all that it starts would ignore Ctrl-C, too."""
    del config
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
