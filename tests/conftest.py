"""For all tests: one thread of arithmetic in each process, because the workers share the cores."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# before anything imports numpy or torch, which read these once
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# how long an example takes is a matter of the machine
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the time of the app's tests is waiting."""
    return 1 + len(os.sched_getaffinity(0))
