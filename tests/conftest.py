"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is slow now and then; that is no finding about the code.
settings.register_profile("polyframe", parent=settings(), deadline=None)
settings.load_profile("polyframe")
