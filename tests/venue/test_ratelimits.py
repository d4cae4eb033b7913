"""Token buckets of a signer: headers, warnings, refusals (PROTOCOL §2.11)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.venue import VenueAccount, VenueSettings
from polyframe.venue.ratelimits import RateLimits
from tests.venue.support import START, Client, open_venue, run, snapshot

FAR = snapshot(0, {10: 100}, {90: 100})


class Hand:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def limits(self, *, enforced: bool = True) -> RateLimits:
        """Return the limits of the smallest tier: 40 orders a second and a burst of 60."""
        return RateLimits(
            "Standard",
            enforced=enforced,
            seconds=lambda: self.now,
            epoch=lambda: START + self.now,
        )


def test_a_bucket_empties_and_fills_again() -> None:
    """The burst at once, then the rate; each account and each kind has its own."""
    hand, account = Hand(), VenueAccount.random()
    limits = hand.limits()
    assert limits.admit(account, "orders", 60) == (
        True,
        {
            "Poly-RateLimit-Remaining": "0",
            "Poly-RateLimit-Reset": str(START),
            "Poly-RateLimit-Tier": "Standard",
        },
    )
    passes, headers = limits.admit(account, "orders", 20)
    assert not passes
    assert headers["Poly-RateLimit-Reset"] == str(START + 1)
    assert headers["Retry-After"] == "1"
    assert limits.admit(account, "cancels", 1)[0]
    assert limits.admit(VenueAccount.random(), "orders", 60)[0]
    hand.now = 0.5
    passes, headers = limits.admit(account, "orders", 20)
    assert passes
    assert headers["Poly-RateLimit-Remaining"] == "0"
    hand.now = 100.0
    assert limits.admit(account, "orders", 61)[0] is False
    assert limits.admit(account, "orders", 60)[0]


def test_cancels_may_go_below_nothing() -> None:
    """While a token is left a cancel passes whatever it costs; then it waits for one."""
    hand, account = Hand(), VenueAccount.random()
    limits = hand.limits()
    passes, headers = limits.admit(account, "cancels", 280)
    assert passes
    assert headers["Poly-RateLimit-Remaining"] == "-160"
    hand.now = 1.0
    passes, headers = limits.admit(account, "cancels", 1)
    assert not passes
    assert headers["Retry-After"] == "2"
    hand.now = 2.1
    assert limits.admit(account, "cancels", 1)[0]


def test_without_enforcement_it_is_a_warning() -> None:
    """What would be refused passes with a header, and costs nothing."""
    hand, account = Hand(), VenueAccount.random()
    limits = hand.limits(enforced=False)
    assert "Poly-RateLimit-Warning" not in limits.admit(account, "orders", 50)[1]
    passes, headers = limits.admit(account, "orders", 15)
    assert passes
    assert headers["Poly-RateLimit-Warning"] == "true"
    assert headers["Poly-RateLimit-Remaining"] == "10"


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 20)), max_size=80))
def test_no_second_has_more_than_burst_and_rate(steps: list[tuple[float, int]]) -> None:
    """In any stretch of time no more passes than the burst and the rate allow."""
    hand, account = Hand(), VenueAccount.random()
    limits = hand.limits()
    passed: list[tuple[float, int]] = []
    for pause, cost in steps:
        hand.now += pause
        if limits.admit(account, "orders", cost)[0]:
            passed.append((hand.now, cost))
    for first, (begin, _) in enumerate(passed):
        total = 0
        for end, cost in passed[first:]:
            total += cost
            assert total <= 60 + 40 * (end - begin) + 1e-6


# ------------------------------------------------------------------ over HTTP


async def _batch(client: Client, count: int = 15) -> Any:
    bodies = [client.order("BUY", "0.50", "5") for _ in range(count)]
    return await client.signed("POST", "/orders", bodies)


def test_every_answer_to_an_order_or_a_cancel_has_the_headers() -> None:
    """One token for each entry, also when it is refused; reading costs nothing."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            answer = await _batch(client, 3)
            assert answer.headers["Poly-RateLimit-Remaining"] in {"57", "58"}
            assert answer.headers["Poly-RateLimit-Tier"] == "Standard"
            assert "Poly-RateLimit-Warning" not in answer.headers
            refused = await client.signed("POST", "/order", client.order("BUY", "0.50", "1"))
            assert refused.status_code == 400
            assert "Poly-RateLimit-Remaining" in refused.headers
            assert "Poly-RateLimit-Remaining" in (await client.signed("POST", "/order", [])).headers
            cancels = await client.signed("DELETE", "/cancel-all")
            assert len(cancels.json()["canceled"]) == 3
            assert cancels.headers["Poly-RateLimit-Remaining"] == "116"
            for path, body in (
                ("/order", {"orderID": "0x" + "0" * 64}),
                ("/orders", ["0x" + "0" * 64] * 2),
                ("/cancel-market-orders", {"asset_id": client.up}),
            ):
                answer = await client.signed("DELETE", path, body)
                assert "Poly-RateLimit-Remaining" in answer.headers
            listed = await client.signed("GET", "/data/orders")
            assert "Poly-RateLimit-Remaining" not in listed.headers

    run(test)


def test_too_much_is_refused_as_a_whole_if_enforced() -> None:
    """429 with the time to come back, nothing of the batch is taken, and cancels still pass."""

    async def test(*, enforced: bool) -> None:
        async with open_venue([FAR], rate_enforced=enforced) as client:
            answers = [await _batch(client) for _ in range(12)]
            assert answers[0].status_code == 200
            if not enforced:
                assert {answer.status_code for answer in answers} == {200}
                assert any("Poly-RateLimit-Warning" in answer.headers for answer in answers)
                return
            refused = [answer for answer in answers if answer.status_code == 429]
            assert refused
            assert refused[0].json() == {"error": "Too Many Requests"}
            assert int(refused[0].headers["Retry-After"]) >= 1
            taken = 15 * (len(answers) - len(refused))
            rows = (await client.signed("DELETE", "/cancel-all")).json()
            assert len(rows["canceled"]) == taken

    run(lambda: test(enforced=True))
    run(lambda: test(enforced=False))


def test_an_unknown_tier_is_named() -> None:
    """The tiers are those of the venue."""
    with pytest.raises(ConfigError, match="rate_tier: expected one of Standard, Copper"):
        VenueSettings(rate_tier="Tin")
