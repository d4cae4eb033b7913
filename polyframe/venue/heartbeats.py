"""The dead man's switch: orders of a key that falls silent are cancelled (PROTOCOL §2.6)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from attrs import define

from polyframe.venue.accounts import Login
from polyframe.venue.settings import VenueSettings
from polyframe.venue.tasks import TaskSet


@define(eq=False)
class _Heart:
    expected: str
    last: float


class Heartbeats:
    """Watches the keys that have begun to send heartbeats.

    Args:
        cancel: Cancels all orders of a key.
        tasks: Owner of the watching tasks.
        settings: How long a key may be silent.
    """

    def __init__(
        self, cancel: Callable[[Login], None], tasks: TaskSet, settings: VenueSettings
    ) -> None:
        self._cancel = cancel
        self._tasks = tasks
        self._settings = settings
        self._hearts: dict[str, _Heart] = {}

    def beat(self, login: Login, heartbeat_id: str) -> tuple[bool, str]:
        """Take a heartbeat; return whether its id was right, and the id that the next one needs.

        The first one may have any id: a key that fell silent begins anew.
        """
        now = asyncio.get_running_loop().time()
        heart = self._hearts.get(login.api_key)
        if heart is None:
            heart = self._hearts[login.api_key] = _Heart(str(uuid.uuid4()), now)
            self._tasks.spawn(self._watch(login, heart), "venue-heartbeat")
            return True, heart.expected
        if heartbeat_id != heart.expected:
            return False, heart.expected
        heart.expected, heart.last = str(uuid.uuid4()), now
        return True, heart.expected

    async def _watch(self, login: Login, heart: _Heart) -> None:
        loop = asyncio.get_running_loop()
        # Each heartbeat moves the hour while this sleeps: there is nothing to wait for but time.
        while (left := heart.last + self._settings.heartbeat_timeout - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        del self._hearts[login.api_key]
        self._cancel(login)
