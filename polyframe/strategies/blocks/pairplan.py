"""One pair from its first order to its end, as a state machine that does nothing itself.

::

    OPENING ──▶ CLEARING ──▶ CHECKING ──┬──▶ COMPLETING ──▶ CLEARING …      the missing leg is bid for
       │        cancelling   asking the ├──▶ SELLING ─────▶ CLEARING …      the excess is closed
       │                     venue what ├──▶ WAITING ─────▶ (the same again, a little later)
       │                     was filled ├──▶ DONE            nothing unpaired but dust
       └──── all filled ────────────────┴──▶ FAILED          it gave up, and says what is left

Given what there is to see, `PairPlan.step` returns the plan as it is then and at most one thing to do.
What came of it is told by `placed`, `refused` and `checked`. Everything else (fills, cancels, prices, time)
is not told but looked at, again in each step: so nothing is missed when an event is, and a fill that is
reported after everything was over simply opens the plan again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from attrs import evolve, frozen

from polyframe.model.events import PriceChanged
from polyframe.model.grid import SIZE_STEP, Grid
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, Side
from polyframe.strategies.blocks.exits import relief
from polyframe.strategies.blocks.pairs import Tally, Unpaired, completing_bid, unpaired

OnFail = Literal["flatten", "pause"]

LONGEST_WAIT = 30.0
"""Market seconds between two tries, at most."""


class PlanState(StrEnum):
    """Where a plan is."""

    OPENING = "opening"
    """Its first orders are at work."""
    CLEARING = "clearing"
    """What is open is being cancelled: nothing is decided while something can still fill."""
    CHECKING = "checking"
    """The venue is asked what was filled: a cancel does not tell."""
    COMPLETING = "completing"
    """A bid for the missing shares is open."""
    SELLING = "selling"
    """It has given up, and an order that closes the excess is open."""
    WAITING = "waiting"
    """A try failed; the next one comes after a pause."""
    DONE = "done"
    """Nothing is unpaired, but for less than an order."""
    FAILED = "failed"
    """It gave up; what is unpaired stays, and is reported."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is tried."""
        return self in {PlanState.DONE, PlanState.FAILED}


@frozen(kw_only=True)
class PairRules:
    """How a plan goes on when not all is filled. Times are market seconds.

    Attributes:
        target: USD that a pair has to leave after fees.
        open_timeout: How long the first orders may stay open, unless one of them is the missing leg.
        leg_timeout: How long it is waited for a missing leg, since it was first missing. Then the plan
            gives up.
        retry_wait: Pause after a try that failed, doubled each time up to 30 seconds; also the time
            after which a bid that could be higher is moved, and a closing order is cancelled.
        tries: Bids for the missing leg that may be refused, or ended by somebody else, before the plan
            gives up; and closing orders before it fails.
        slippage: How far beyond the best price closing orders go, in USD.
        stop: Give up when a share of the excess could be sold for this much less than it cost, in USD;
            ``None`` for never.
        on_fail: What giving up means: ``"flatten"`` closes the excess at what the market gives,
            ``"pause"`` leaves it as it is.
    """

    target: Decimal
    open_timeout: float
    leg_timeout: float
    retry_wait: float = 2.0
    tries: int = 3
    slippage: Decimal = Decimal("0.01")
    stop: Decimal | None = None
    on_fail: OnFail = "flatten"


@frozen(kw_only=True)
class Seen:
    """What a step decides on.

    Attributes:
        now: Market time in epoch seconds.
        orders: The plan's orders as they are now.
        quotes: Tops of both books.
        tick: The price step of now in USD.
        deliverable: Shares of each outcome that could be sold: delivered, and held by no order.
        market: Its rules and fees.
        must_close: Whether the window is so close to its end that every plan has to give up now.
    """

    now: float
    orders: tuple[Order, ...]
    quotes: Mapping[Outcome, PriceChanged]
    tick: Decimal
    deliverable: Mapping[Outcome, Decimal]
    market: Market
    must_close: bool = False


@frozen
class Place:
    """Place this order; then say `PairPlan.placed`, and `PairPlan.refused` if it failed."""

    request: OrderRequest


@frozen
class Cancel:
    """Cancel these orders, by client id. There is nothing to say afterwards."""

    client_ids: tuple[str, ...]


@frozen
class Check:
    """Compare with the venue; then say `PairPlan.checked`."""


Action = Place | Cancel | Check


@frozen(kw_only=True)
class PairPlan:
    """One pair, from its first order to its end. Never changes: each step makes a new value.

    Attributes:
        rules: How it goes on.
        client_ids: Its orders, oldest first.
        state: Where it is.
        why: Why it gave up, ``""`` as long as it has not.
        since: When the state began, in epoch seconds of market time.
        leg_since: Since when a leg is missing, ``None`` while none is.
        next_at: When the next cancel or try is due.
        tries: Tries of the present kind that have failed.
        is_closing: Whether the end of the window has made it give up.
    """

    rules: PairRules
    client_ids: tuple[str, ...]
    state: PlanState = PlanState.OPENING
    why: str = ""
    since: float
    leg_since: float | None = None
    next_at: float = 0.0
    tries: int = 0
    is_closing: bool = False

    @classmethod
    def begin(cls, rules: PairRules, client_ids: Iterable[str], now: float) -> PairPlan:
        """Return the plan of orders that were just placed."""
        return cls(rules=rules, client_ids=tuple(client_ids), since=now)

    @classmethod
    def take_over(cls, rules: PairRules, orders: Sequence[Order], now: float) -> PairPlan:
        """Return a plan of orders whose own plan is lost, as after a restart of the program.

        What is open is cancelled; what is missing then is completed, or closed.
        """
        client_ids = tuple(order.client_id for order in orders)
        is_open = any(order.is_open for order in orders)
        state = PlanState.CLEARING if is_open else PlanState.DONE
        return cls(rules=rules, client_ids=client_ids, since=now, state=state)

    # ------------------------------------------------------------------ what came of it

    def placed(self, client_id: str) -> PairPlan:
        """Note the order that `Place` asked for, whatever the venue made of it."""
        return evolve(self, client_ids=(*self.client_ids, client_id))

    def refused(self, now: float) -> PairPlan:
        """Note that what `Place` asked for failed: it is tried again after a pause."""
        wait = min(self.rules.retry_wait * 2**self.tries, LONGEST_WAIT)
        # A closing order counts when it is placed, because also one that is filled in part is a try.
        tries = self.tries + (self.state is PlanState.COMPLETING)
        return evolve(_in(self, PlanState.CHECKING, now), tries=tries, next_at=now + wait)

    def checked(self, seen: Seen, *, is_complete: bool) -> PairPlan:
        """Note a comparison with the venue; one that was not possible is repeated."""
        if is_complete:
            return _decided(self, seen)
        return evolve(self, next_at=seen.now + self.rules.retry_wait)

    # ------------------------------------------------------------------ what is next

    def step(self, seen: Seen) -> tuple[PairPlan, Action | None]:
        """Return the plan as it is now, and what to do, if anything."""
        plan = _watched(self, seen)
        match plan.state:
            case PlanState.OPENING | PlanState.COMPLETING | PlanState.SELLING:
                return _at_work(plan, seen)
            case PlanState.CLEARING:
                return _clear(plan, seen)
            case PlanState.CHECKING:
                return plan, Check() if seen.now >= plan.next_at else None
            case PlanState.WAITING:
                if seen.now < plan.next_at:
                    return plan, None
                return _go_on(_decided(plan, seen), seen)
            case PlanState.DONE | PlanState.FAILED:
                return plan, None


# -------------------------------------------------------------------------------- in each step


def _watched(plan: PairPlan, seen: Seen) -> PairPlan:
    """Give up if it is time to, and open again if more was filled than was known."""
    excess = _excess(seen)
    since = seen.now if plan.leg_since is None else plan.leg_since
    plan = evolve(plan, leg_since=None if excess.size < SIZE_STEP else since)
    if seen.must_close and not plan.is_closing:
        # The last chance: what failed before may work now.
        plan = evolve(plan, is_closing=True, tries=0)
        if plan.state in {PlanState.FAILED, PlanState.WAITING}:
            plan = _in(plan, PlanState.CHECKING, seen.now)
    if plan.state is PlanState.DONE and not excess.is_dust:
        plan = _in(plan, PlanState.CHECKING, seen.now)
    if plan.why or plan.state.is_over or plan.leg_since is None:
        return plan
    return _given_up(plan, _reason_to_give_up(plan, excess, seen))


def _reason_to_give_up(plan: PairPlan, excess: Unpaired, seen: Seen) -> str:
    rules, since, bid = plan.rules, plan.leg_since, seen.quotes[excess.outcome].bid
    if seen.must_close and not excess.is_dust:
        return "the window ends"
    if since is not None and seen.now - since >= rules.leg_timeout:
        return f"the missing leg was not filled in {rules.leg_timeout:g} s"
    if rules.stop is not None and bid is not None:
        cost = Tally.of(seen.orders).unit_cost()
        if bid <= cost - rules.stop:
            return f"{excess.outcome} fell to {bid}, its shares cost {cost:.4f}"
    return ""


def _given_up(plan: PairPlan, why: str) -> PairPlan:
    return evolve(plan, why=why, tries=0) if why else plan


# -------------------------------------------------------------------------------- open orders


def _at_work(plan: PairPlan, seen: Seen) -> tuple[PairPlan, Action | None]:
    """Wait for open orders as long as that makes sense."""
    if not any(order.is_open for order in seen.orders):
        return _ended(plan, seen)
    if _is_enough(plan, seen):
        return _clear(_in(plan, PlanState.CLEARING, seen.now), seen)
    return plan, None


def _is_enough(plan: PairPlan, seen: Seen) -> bool:
    """Return whether what is open has to be cancelled."""
    waited = seen.now - plan.since
    if plan.state is PlanState.SELLING:
        return waited >= plan.rules.retry_wait
    if plan.why:
        return True
    missing = _excess(seen).missing
    resting = [order for order in seen.orders if order.is_open]
    is_leg_open = plan.leg_since is not None and any(o.outcome is missing for o in resting)
    if plan.state is PlanState.OPENING and not is_leg_open:
        return seen.must_close or waited >= plan.rules.open_timeout
    # The missing leg is open: it has the time of a leg, and is moved if it could bid more.
    wanted = _completion(plan, seen)
    return (
        wanted is not None
        and min(waited, seen.now - (plan.leg_since or 0.0)) >= plan.rules.retry_wait
        and all(o.outcome is missing and o.price < wanted.price for o in resting)
    )


def _ended(plan: PairPlan, seen: Seen) -> tuple[PairPlan, Action | None]:
    """Go on after the open orders have ended."""
    at_once = len(seen.orders) if plan.state is PlanState.OPENING else 1
    if all(_is_whole(order) for order in seen.orders[-at_once:]):
        return _go_on(_decided(plan, seen), seen)
    # A bid that nobody here has cancelled did not do what it was for.
    tries = plan.tries + (plan.state is PlanState.COMPLETING)
    return evolve(_in(plan, PlanState.CHECKING, seen.now), tries=tries), Check()


def _is_whole(order: Order) -> bool:
    """Return whether all of an order is filled, so that nobody need be asked."""
    return order.status is OrderStatus.FILLED and order.remaining < SIZE_STEP


def _clear(plan: PairPlan, seen: Seen) -> tuple[PairPlan, Action | None]:
    still = tuple(order for order in seen.orders if order.is_open)
    if not still:
        return _in(plan, PlanState.CHECKING, seen.now), Check()
    if seen.now < plan.next_at:
        return plan, None
    plan = evolve(plan, next_at=seen.now + plan.rules.retry_wait)
    return plan, Cancel(tuple(order.client_id for order in still))


# -------------------------------------------------------------------------------- deciding


def _decided(plan: PairPlan, seen: Seen) -> PairPlan:
    """Return the plan after it is certain what was filled: over, or with something to do."""
    if _excess(seen).is_dust:
        return _in(plan, PlanState.DONE, seen.now)
    if not plan.why and plan.tries >= plan.rules.tries:
        plan = _given_up(plan, f"{plan.tries} tries to complete it failed")
    if plan.why and (plan.rules.on_fail == "pause" or plan.tries >= plan.rules.tries):
        return _in(plan, PlanState.FAILED, seen.now)
    return _in(plan, PlanState.WAITING, seen.now)


def _go_on(plan: PairPlan, seen: Seen) -> tuple[PairPlan, Action | None]:
    """Place what is to be placed now."""
    if plan.state is not PlanState.WAITING:
        return plan, None
    if not plan.why and Tally.of(seen.orders).budget(plan.rules.target) < seen.tick:
        plan = _decided(_given_up(plan, "a pair would cost more than it may"), seen)
        return _go_on(plan, seen)
    request = _relief(plan, seen) if plan.why else _completion(plan, seen)
    if request is None:  # nothing is sent, so no try is lost; the end of the window ends it
        return evolve(plan, next_at=seen.now + plan.rules.retry_wait), None
    if plan.why:
        plan = evolve(_in(plan, PlanState.SELLING, seen.now), tries=plan.tries + 1)
    else:
        plan = _in(plan, PlanState.COMPLETING, seen.now)
    return plan, Place(request)


def _completion(plan: PairPlan, seen: Seen) -> OrderRequest | None:
    """Return the order that would complete the pairs within the budget, ``None`` if none does."""
    excess = _excess(seen)
    size = Grid(seen.tick).floor_size(excess.size)
    if size < seen.market.min_size:
        return None
    budget, quote = Tally.of(seen.orders).budget(plan.rules.target), seen.quotes[excess.missing]
    bid = completing_bid(budget, size, quote, tick=seen.tick, market=seen.market)
    if bid is None:
        return None
    return OrderRequest(excess.missing, Side.BUY, bid.price, size, post_only=bid.post_only)


def _relief(plan: PairPlan, seen: Seen) -> OrderRequest | None:
    """Return the order that closes the excess at what the market gives, ``None`` if none does."""
    excess = _excess(seen)
    return relief(
        excess.outcome,
        excess.size,
        seen.quotes,
        seen.deliverable[excess.outcome],
        tick=seen.tick,
        market=seen.market,
        slippage=plan.rules.slippage,
    )


def _excess(seen: Seen) -> Unpaired:
    return unpaired(Tally.of(seen.orders).held, seen.market)


def _in(plan: PairPlan, state: PlanState, now: float) -> PairPlan:
    return evolve(plan, state=state, since=now, next_at=now)
