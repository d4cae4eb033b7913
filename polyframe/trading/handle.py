"""What one strategy trades with in one cycle."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from decimal import Decimal
from enum import Enum
from threading import get_ident
from typing import TYPE_CHECKING

from polyframe.errors import PolyframeError, StaleCycleError
from polyframe.model.conversion import Conversion, ConversionKind
from polyframe.model.events import PriceChanged
from polyframe.model.market import Market, Outcome, known_outcome
from polyframe.model.money import ZERO, decimal
from polyframe.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from polyframe.model.position import Outlook, Position
from polyframe.model.trade import Fill
from polyframe.trading.legs import LegsPlan, LegsResult, OnMissing
from polyframe.trading.opencancel import CancelReport
from polyframe.trading.placing import Placed
from polyframe.trading.reconcile import ReconcileReport
from polyframe.trading.state import CycleState

if TYPE_CHECKING:
    from polyframe.trading.service import TradingService


class HandleState(Enum):
    """Life of a strategy's trading handle; it only moves forward."""

    OPEN = "open"
    CLOSING = "closing"
    """New orders are refused, cancels and reads still work."""
    DEAD = "dead"
    """Every call raises `StaleCycleError`."""


class StrategyTrading:
    """What one strategy trades with in one cycle (``self.trading``).

    It sees this strategy's orders and positions only, and dies with the cycle. What it does belongs to
    the thread of the event loop; anywhere else it raises `PolyframeError`.
    """

    def __init__(self, service: TradingService, market: Market, strategy: str) -> None:
        self._service = service
        self._market = market
        self._strategy = strategy
        self._state = HandleState.OPEN
        self._thread = get_ident()

    # ------------------------------------------------------------------ orders

    async def buy(
        self,
        outcome: Outcome,
        *,
        price: Decimal,
        size: Decimal,
        order_type: OrderType = OrderType.GTC,
        post_only: bool = False,
        intent: str = "",
        expires: int | None = None,
    ) -> Order:
        """Buy `size` shares of `outcome` at `price` USD or better; see `place`."""
        return await self.place(
            OrderRequest(outcome, Side.BUY, price, size, order_type, post_only, intent, expires)
        )

    async def sell(
        self,
        outcome: Outcome,
        *,
        price: Decimal,
        size: Decimal,
        order_type: OrderType = OrderType.GTC,
        post_only: bool = False,
        intent: str = "",
        expires: int | None = None,
    ) -> Order:
        """Sell `size` held shares of `outcome` at `price` USD or better; see `place`."""
        return await self.place(
            OrderRequest(outcome, Side.SELL, price, size, order_type, post_only, intent, expires)
        )

    async def market_buy(
        self,
        outcome: Outcome,
        *,
        usd: Decimal,
        price: Decimal,
        order_type: OrderType = OrderType.FAK,
        intent: str = "",
    ) -> Order:
        """Spend `usd` (whole cents, the fee comes on top) on `outcome` at `price` or better, now.

        FAK takes what is there, FOK all or nothing; see `place`.
        """
        return await self.place(OrderRequest.market_buy(outcome, usd, price, order_type, intent))

    async def place(self, request: OrderRequest) -> Order:
        """Place one order; returns when the venue answered.

        Fills arrive as trades (``on_trade``), often before this returns.

        Raises:
            StaleCycleError: The cycle is over.
            OrderDenied: Refused here; nothing was sent.
            OrderRejected: Refused by the venue.
            OrderOutcomeUnknown: Sent, and the answer was lost.
        """
        self._check_open("place")
        return await self._service.place(self._market.generation, self._strategy, request)

    async def place_many(self, requests: Iterable[OrderRequest]) -> tuple[Placed, ...]:
        """Place several orders at once; returns what became of each when the venue answered.

        One that is denied or refused stops no other; see `TradingService.place_many`.

        Raises:
            StaleCycleError: The cycle is over.
        """
        self._check_open("place_many")
        return await self._service.place_many(self._market.generation, self._strategy, requests)

    async def place_legs(
        self,
        requests: Iterable[OrderRequest],
        on_missing: OnMissing = "cancel",
        *,
        unwind_floor: Iterable[Decimal | None] | None = None,
        missing_timeout: float = 10.0,
    ) -> LegsResult:
        """Place several orders that are meant as one; see `TradingService.place_legs`.

        Args:
            requests: 2 to 15 orders.
            on_missing: What becomes of the other legs if one is missing: ``"cancel"``, ``"keep"``
                or ``"unwind"``.
            unwind_floor: The least price in USD at which each leg is sold back; ``None`` means the
                best bid.
            missing_timeout: Network seconds in which it has to become known what came of each leg.

        Raises:
            StaleCycleError: The cycle is over, or ended before all was done.
            OrderDenied: A leg was denied, the text says which; none was sent.
            ConfigError: A value that cannot be.
        """
        self._check_open("place_legs")
        plan = LegsPlan(
            requests=requests,
            on_missing=on_missing,
            unwind_floor=unwind_floor,
            missing_timeout=missing_timeout,
        )
        return await self._service.place_legs(self._market.generation, self._strategy, plan)

    async def cancel(self, order: Order | str) -> Order:
        """Cancel an order (or its client id) and return it as it is then.

        Raises:
            StaleCycleError: The cycle is over and its clean-up, too.
            OrderDenied: Not an order of this strategy in this cycle.
            ExchangeError: The venue did not answer.
        """
        self._check_thread("cancel")
        self._check("cancel")
        if not isinstance(order, Order | str):
            msg = f"cancel: expected an order, or its client id, got {order!r}"
            raise TypeError(msg)
        client_id = order if isinstance(order, str) else order.client_id
        own = self._find().orders.get(client_id)
        if own is None or own.strategy != self._strategy:
            text = f"{self._strategy} has no order {client_id} in this cycle"
            raise self._service.denied("unknown_order", text, self._market, strategy=self._strategy)
        return await self._service.cancel(self._market, client_id)

    async def cancel_all(self, outcome: Outcome | None = None) -> list[Order]:
        """Cancel all open orders of this strategy (of one outcome); return them as they are then.

        One request takes back what rests; an order whose own answer is still to come waits for it.
        All are tried, also when one fails.

        Raises:
            StaleCycleError: The cycle is over and its clean-up, too.
            ExchangeError: The first failure, after all were tried.
        """
        self._check_thread("cancel_all")
        self._check("cancel_all")
        only = None if outcome is None else known_outcome(outcome)
        wanted = [o for o in self.open_orders() if only is None or o.outcome is only]
        resting = [o.client_id for o in wanted if o.status is not OrderStatus.SUBMITTING]
        batches = [resting, *([o.client_id] for o in wanted if o.client_id not in resting)]
        cancels = (self._service.cancel_many(self._market, batch) for batch in batches if batch)
        results = await asyncio.gather(*cancels, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        orders = self._find().orders
        return [orders[order.client_id] for order in wanted]

    async def cancel_exchange_open_orders(
        self,
        market: Market | str | None = None,
        assets: Collection[str] = (),
        *,
        only_untracked: bool = False,
        max_to_cancel: int | None = None,
        dry_run: bool = False,
    ) -> CancelReport:
        """Cancel what the venue lists as open for the account, whoever placed it.

        In ``on_cycle_start`` with ``only_untracked=True``: no order of an earlier run or of another
        program fills into this cycle. See `TradingService.cancel_exchange_open_orders`.

        Raises:
            StaleCycleError: The cycle is over and its clean-up, too.
            ConfigError: A market or number that cannot be.
            ExchangeError: The venue did not list the orders; nothing was cancelled.
        """
        self._check_thread("cancel_exchange_open_orders")
        self._check("cancel_exchange_open_orders")
        return await self._service.cancel_exchange_open_orders(
            market,
            assets,
            only_untracked=only_untracked,
            max_to_cancel=max_to_cancel,
            dry_run=dry_run,
        )

    async def reconcile(self) -> ReconcileReport:
        """Compare with the venue now, apply what was missed, and report.

        It happens by itself, too, so this is for the moment before something important.

        Raises:
            StaleCycleError: The cycle is over.
        """
        self._check_open("reconcile")
        return await self._service.reconcile()

    # ------------------------------------------------------------------ splitting and merging

    async def merge(self, shares: Decimal | None = None) -> Conversion:
        """Turn pairs into cash, 1 USD each, and return it as it is now.

        It goes on in the background and takes seconds to a minute: only when it is confirmed, cash
        and profit move (`conversions`, `wait_conversion`). Until then its shares can neither be sold
        nor merged again, and no other split or merge begins in this market.

        Args:
            shares: Pairs, all that `mergeable` tells by default.

        Raises:
            StaleCycleError: The cycle is over.
            OrderDenied: Refused here, for example with the rule ``"pairs"``; nothing was sent.
        """
        self._check_open("merge")
        wanted = self.mergeable() if shares is None else decimal(shares, "shares")
        return self._service.convert(self._market, self._strategy, ConversionKind.MERGE, wanted)

    async def split(self, usd: Decimal) -> Conversion:
        """Turn cash into pairs, one share of Up and one of Down for each USD; see `merge`.

        Raises:
            StaleCycleError: The cycle is over.
            OrderDenied: Refused here; nothing was sent.
        """
        self._check_open("split")
        return self._service.convert(
            self._market, self._strategy, ConversionKind.SPLIT, decimal(usd, "usd")
        )

    async def wait_conversion(self, conversion: Conversion | str) -> Conversion:
        """Return a split or merge once its end is known. Put a time-out around it.

        Raises:
            StaleCycleError: The cycle is over and its clean-up, too.
            OrderDenied: Not a split or merge of this strategy in this cycle.
        """
        self._check_thread("wait_conversion")
        self._check("wait_conversion")
        name = conversion if isinstance(conversion, str) else conversion.conversion_id
        own = self._find().conversions.get(name)
        if own is None or own.strategy != self._strategy:
            text = f"{self._strategy} has no conversion {name} in this cycle"
            raise self._service.denied("unknown_order", text, self._market, strategy=self._strategy)
        return await self._service.wait_conversion(self._market, name)

    # ------------------------------------------------------------------ reading

    def conversions(self) -> list[Conversion]:
        """Return all splits and merges of this strategy in this cycle, oldest first."""
        return [c for c in self._find().conversions.values() if c.strategy == self._strategy]

    def mergeable(self) -> Decimal:
        """Return the pairs that can be merged now: settled, and not offered by an open sell.

        It is 0 while another split or merge is under way in this market.
        """
        state = self._find()
        return ZERO if state.open_conversion is not None else state.mergeable(self._strategy)

    def orders(self) -> list[Order]:
        """Return all orders of this strategy in this cycle, oldest first."""
        return [o for o in self._find().orders.values() if o.strategy == self._strategy]

    def open_orders(self) -> list[Order]:
        """Return this strategy's orders that may still fill."""
        return [o for o in self._find().open_orders() if o.strategy == self._strategy]

    def fills(self) -> list[Fill]:
        """Return this strategy's fills, oldest first, failed ones included."""
        return [f for f in self._find().fills.values() if f.strategy == self._strategy]

    def position(self, outcome: Outcome) -> Position:
        """Return what this strategy holds of `outcome`."""
        return self._find().position(known_outcome(outcome), self._strategy)

    def outlook(self) -> Outlook:
        """Return how this strategy stands, and how the cycle would end for it.

        Held shares are marked at the best bids of now; in ``on_cycle_end`` none is known any more.
        """
        state = self._find()
        return state.outlook(self._service.bids(self._market), self._strategy)

    def sellable(self, outcome: Outcome) -> Decimal:
        """Return the shares of `outcome` that no open sell order holds."""
        return self._find().sellable(known_outcome(outcome), self._strategy)

    def price(self, outcome: Outcome) -> PriceChanged:
        """Return the latest top of the book of `outcome`.

        Raises:
            StaleCycleError: The cycle is over.
        """
        self._check("price")
        return self._service.price(self._market, outcome)

    @property
    def cash(self) -> Decimal:
        """USD that no open order holds; shared by all strategies of the environment."""
        self._check("cash")
        return max(self._service.account.available, ZERO)

    # ------------------------------------------------------------------ life

    @property
    def state(self) -> HandleState:
        """Where the handle is in its life."""
        return self._state

    def begin_closing(self) -> None:
        """Refuse new orders from now on; called by the framework when the cycle ends."""
        if self._state is HandleState.OPEN:
            self._state = HandleState.CLOSING

    def kill(self) -> None:
        """Refuse everything from now on; called by the framework after ``on_cycle_end``."""
        self._state = HandleState.DEAD

    def _find(self) -> CycleState:
        self._check("trading")
        state = self._service.state(self._market)
        if state is None:
            raise self._stale("trading")
        return state

    def _check_open(self, what: str) -> None:
        self._check_thread(what)
        if self._state is not HandleState.OPEN:
            raise self._stale(what)

    def _check_thread(self, what: str) -> None:
        # Nothing here is locked: half of a command of one thread would meet half of one of the other.
        if get_ident() != self._thread:
            msg = (
                f"{what}: called from another thread than the event loop's, nothing was changed; compute "
                "with 'await asyncio.to_thread(…)' and trade in the hook with what that returns, or "
                "hand it over with 'asyncio.run_coroutine_threadsafe(…, loop)'"
            )
            raise PolyframeError(msg)

    def _check(self, what: str) -> None:
        if self._state is HandleState.DEAD:
            raise self._stale(what)

    def _stale(self, what: str) -> StaleCycleError:
        self._service.note_stale(what)
        return StaleCycleError(what, self._market.generation, self._service.generation)
