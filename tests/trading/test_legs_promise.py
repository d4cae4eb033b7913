"""What `place_legs` promises holds whatever the venue does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from polyframe.model.events import OrderEventKind
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest
from tests.support.stage import Stage, play
from tests.trading.scripted import FAK, FATES, FOK, GTC, Scripted, buy, handle

REQUESTS = st.builds(
    lambda outcome, kind, cents: buy(outcome, f"0.{cents}", order_type=kind),
    st.sampled_from(list(Outcome)),
    st.sampled_from([GTC, FAK, FOK]),
    st.integers(20, 45),
)


@given(
    legs=st.lists(st.tuples(REQUESTS, st.sampled_from(FATES)), min_size=2, max_size=5),
    on_missing=st.sampled_from(["cancel", "keep", "unwind"]),
    cancels=st.lists(st.sampled_from(["", "error", "race"]), max_size=3),
    sales=st.lists(st.sampled_from(FATES), max_size=5),
)
@examples(max_examples=100, deadline=None)
def test_the_promise_holds_whatever_the_venue_does(
    legs: list[tuple[OrderRequest, str]], on_missing: Any, cancels: list[str], sales: list[str]
) -> None:
    """The books end as the venue's, nothing stays reserved, and the policy does what it says."""
    exchange = Scripted(*(fate for _, fate in legs), *sales, cancels=cancels)

    async def act(stage: Stage) -> None:
        trading = await handle(stage)
        result = await trading.place_legs([request for request, _ in legs], on_missing)
        bought = dict.fromkeys(Outcome, ZERO)
        for leg in result.legs:
            bought[leg.request.outcome] += leg.filled
        # Each was sent once, and sales only where they were wanted.
        ids = [one.venue_id for one in exchange.placed]
        assert len(ids) == len(set(ids)) == len(legs) + len(result.sold)
        if result.is_complete or on_missing == "keep":
            assert exchange.cancelled == []
            assert result.sold == ()
        else:
            still = [leg for leg in result.legs if leg.order.is_open]
            assert len(still) == sum("could not be cancelled" in one for one in result.failures)
        if on_missing == "unwind" and not result.is_complete:
            for outcome in Outcome:
                sold = sum((o.filled for o in result.sold if o.outcome is outcome), ZERO)
                assert bought[outcome] - sold == result.unsold.get(outcome, ZERO)
                assert trading.position(outcome).size == result.unsold.get(outcome, ZERO)
        # In the end, whatever was lost on the way, the books are the venue's.
        await stage.env.clock.sleep(40)
        await trading.reconcile()
        for order in trading.orders():
            known = exchange.known.get(order.venue_id)
            matched = ZERO if known is None else known.size_matched
            assert order.filled == matched
            rests = known is not None and known.kind is not OrderEventKind.CANCELLATION
            assert order.is_open is (rests and matched < order.size), order
        exchange.cancels = []
        await trading.cancel_all()
        assert stage.env.account.reserved == 0
        assert trading.open_orders() == []

    play(act, exchange=exchange)
