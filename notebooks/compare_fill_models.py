# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Resting orders under several fill models
#
# Nobody knows where in a queue an order stood: a recording shows sizes and trades, not who stands where. So
# the same strategy is run under four models of the queue. What holds under the optimist only is nothing.
#
# | model | of a cancel, the part that stood before us |
# |---|---|
# | `CancelsBehind` | none, as long as anybody stands behind us: the pessimist |
# | `Power2` | before² / (before² + behind²), the default |
# | `ProRata` | before / (before + behind) |
# | `Touch` | there is no queue: the optimist |
#
# It needs the extra `report` of polyframe.

# %%
import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import plotly.graph_objects as go
from attrs import define, field
from plotly.subplots import make_subplots

from polyframe import (
    CancelsBehind,
    OrderError,
    Outcome,
    PaperModels,
    Power2,
    PriceChanged,
    ProRata,
    Side,
    Strategy,
    TapeEvent,
    TapeMarket,
    Timed,
    Touch,
)
from polyframe.backtest import backtest
from polyframe.model.events import BookDelta, BookSnapshot, LevelChange, TradePrint
from polyframe.testing.regimes import Regime, RegimeMarkets

# %% [markdown]
# ## A market in which only the queue matters
#
# The price never moves: 0.49 is bid and 0.51 asked for all the time. At both, others join, cancel, and trade.
# A recording is any object with these two methods and two counts; one of your own is a `ParquetRecording`.

# %%
BID, ASK = 4_900, 5_100  # in 1e-4 USD
UNIT = Decimal("0.01")  # shares


class CalmMarkets:
    """Markets of five minutes whose best prices stay where they are."""

    skipped: Mapping[str, int] = {}
    doubtful: Mapping[str, int] = {}

    def markets(self) -> Sequence[TapeMarket]:
        return RegimeMarkets(Regime.RANGE, cycles=8, seed=2, series="btc-updown-5m").markets()

    def events(self, tape: TapeMarket) -> Iterator[TapeEvent]:
        market, chance = tape.market, random.Random(tape.market.slug)
        now = (market.window.start - 10) * 1000
        sizes = {True: Decimal(600), False: Decimal(600)}
        for token, bid, ask in ((market.up_token, True, False), (market.down_token, False, True)):
            bids, asks = ((BID, sizes[bid]),), ((ASK, sizes[ask]),)
            yield Timed(now, 1, BookSnapshot(market.condition_id, token, bids, asks, now, 100))
        while (now := now + chance.randint(200, 800)) < market.window.end * 1000:
            is_bid = chance.random() < 0.5
            size = UNIT * chance.randint(500, 12_000)
            size = min(size, sizes[is_bid] - 50)
            kind = chance.choices(("join", "cancel", "trade"), (5, 4, 2))[0]
            if kind == "join" or size <= 0:
                sizes[is_bid] = min(sizes[is_bid] + abs(size), Decimal(1_500))
            else:
                sizes[is_bid] -= size
            if kind == "trade" and size > 0:
                price, side = (BID, Side.SELL) if is_bid else (ASK, Side.BUY)
                told = TradePrint(market.condition_id, market.up_token, price, size, side, now)
                yield Timed(now, 1, told)
            price = BID if is_bid else ASK
            changes = (
                LevelChange(market.up_token, is_bid, price, sizes[is_bid], BID, ASK),
                LevelChange(market.down_token, not is_bid, 10_000 - price, sizes[is_bid], BID, ASK),
            )
            yield Timed(now, 1, BookDelta(market.condition_id, changes, now))


# %% [markdown]
# ## A strategy that rests
#
# It bids for both outcomes at the best price and waits. Fills of both are worth 1 USD together and cost
# 0.98; what is filled on one side only is a bet.


# %%
@define
class BestBid(Strategy):
    """Rests at the best bid of both outcomes, and holds what it gets."""

    size: Decimal = Decimal(800)
    bids: set[Outcome] = field(init=False, factory=set)

    async def on_price(self, event: PriceChanged) -> None:
        if event.outcome in self.bids or event.bid is None:
            return
        self.bids.add(event.outcome)
        try:
            await self.trading.buy(event.outcome, price=event.bid, size=self.size, post_only=True)
        except OrderError as error:
            self.log.info("no bid: %s", error)

    async def run(self) -> None:
        await self.clock.sleep(280)
        await self.trading.cancel_all()


# %%
reports = {}
for queue in (CancelsBehind(), Power2(), ProRata(), Touch()):
    models = PaperModels(queue=queue)
    reports[queue.name] = await backtest(BestBid(), data=CalmMarkets(), models=models)

for name, report in reports.items():
    total = report.total
    print(
        f"{name:10} {total.fills} fills, {total.shares:.0f} shares, profit {total.profit:+.2f} USD"
    )

# %% [markdown]
# ## Shares and profit
#
# The more optimistic the model, the more is filled. In a market that moves, more fills are not more profit:
# what one gets first is what others want to be rid of. Here profit is the luck of eight draws: what to look at is
# how many shares each model believes in.

# %%
names = list(reports)
figure = make_subplots(rows=1, cols=2, subplot_titles=("Shares that were filled", "Profit, USD"))
shares = [float(report.total.shares) for report in reports.values()]
profits = [float(report.total.profit or 0) for report in reports.values()]
figure.add_trace(go.Bar(x=names, y=shares, marker_color="#4a5a70", showlegend=False), row=1, col=1)
colours = ["#2a7f62" if profit >= 0 else "#b3423a" for profit in profits]
figure.add_trace(go.Bar(x=names, y=profits, marker_color=colours, showlegend=False), row=1, col=2)
figure.update_layout(
    title="BestBid under four models of the queue", template="plotly_white", height=440, width=1000
)
figure

# %% [markdown]
# `run_bracket` of `polyframe.backtest` runs the first three in one call.

# %%
assert shares[0] <= shares[1] <= shares[3]
assert shares[2] <= shares[3]
