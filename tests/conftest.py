"""Settings of all tests."""

from __future__ import annotations

import sys

from hypothesis import settings

# A busy machine is slow now and then; that is no finding about the code. The same cases each time,
# so that a change is judged by what it changed; `pytest --hypothesis-profile explore` (make
# explore) draws new ones.
settings.register_profile("polyframe", parent=settings(), deadline=None, derandomize=True)
settings.register_profile("explore", parent=settings(), deadline=None)
settings.load_profile("polyframe")

RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_runtest_setup() -> None:
    """Take back what a package below eth_account does to the whole process when it is imported.

    With a limit a hundred times as high, data that is nested without end is no error any more but
    the end of the process, in whatever test comes later.
    """
    if sys.getrecursionlimit() > 10 * RECURSION_LIMIT:
        sys.setrecursionlimit(RECURSION_LIMIT)
