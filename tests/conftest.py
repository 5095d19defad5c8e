"""What every test gets: the closing tables, the real services, and steady settings for property tests."""

import os

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
