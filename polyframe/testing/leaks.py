"""What is left of a cycle that is over."""

from __future__ import annotations

import asyncio

from attrs import frozen

from polyframe.environment import Environment
from polyframe.session import ExchangeSession, SessionState
from polyframe.testing.simvenue import SimVenue


@frozen
class Leak:
    """Something that outlived its cycle.

    Attributes:
        kind: ``"task"``, ``"session"``, ``"subscriber"``, ``"route"`` or ``"stream"``.
        name: Which one.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} is still there"


def leaks_of(session: ExchangeSession, env: Environment, venue: SimVenue) -> list[Leak]:
    """Return what is left of the cycle of `session`, whose deadline is over.

    Requests that are under way and the cycle's settlement are not leaks: both end by themselves and
    change nothing of a later cycle.
    """
    slug = session.slug
    found = [
        Leak("task", name)
        for name in sorted(task.get_name() for task in asyncio.all_tasks() if not task.done())
        if name.endswith(f"@{slug}") or name in (f"books {slug}", f"end of {slug}")
    ]
    if session.state is not SessionState.DEAD:
        found.append(Leak("session", f"{slug}, {session.state.value}"))
    found += [Leak("subscriber", repr(subscriber)) for subscriber in session._subscribers]
    found += [
        Leak("route", token)
        for token, route in env.router._routes.items()
        if route.session is session
    ]
    found += [
        Leak("stream", slug)
        for stream in venue.streams
        if stream.market.slug == slug and not stream.closed
    ]
    return found
