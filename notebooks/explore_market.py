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
# # One market, looked at
#
# What happened in one recorded market: the price of its Up share, the spread, and how much was on offer.
# The market is one of 18 in the sample of the package `resolvedkit`, data © Resolved Markets, CC BY 4.0.
#
# It needs the extras `data` and `report` of polyframe.

# %%
from itertools import pairwise

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from polyframe import Gap, Outcome, ResolvedMarkets, check_tape
from polyframe.model.events import BookSnapshot

recording = ResolvedMarkets()
tape = recording.markets()[3]
f"{tape.market.slug}: {tape.market.window.end - tape.market.window.start} seconds, {tape.winner} won"

# %% [markdown]
# ## Can it be relied on?
#
# `check_tape` plays the books and says what is missing or does not fit.

# %%
found = check_tape(recording.events(tape))
{"covers its window": found.covers(tape), "gaps": found.gaps, "crossed books": found.crossed}

# %% [markdown]
# ## Prices
#
# The sample has a picture of the whole book once a second. Prices are whole numbers of 1e-4 USD.

# %%
seconds, bids, asks, depths = [], [], [], []
for event in recording.events(tape):
    if isinstance(event, Gap) or not isinstance(event.message, BookSnapshot):
        continue
    book = event.message
    if book.token != tape.market.token(Outcome.UP) or not (book.bids and book.asks):
        continue
    seconds.append(event.received_ms / 1000 - tape.market.window.start)
    bids.append(max(price for price, _ in book.bids) / 10_000)
    asks.append(min(price for price, _ in book.asks) / 10_000)
    depths.append(float(sum(size for _, size in book.bids) + sum(size for _, size in book.asks)))

print(len(seconds), "pictures of the book of Up")

# %%
figure = make_subplots(
    rows=3,
    cols=1,
    shared_xaxes=True,
    row_heights=[0.6, 0.2, 0.2],
    vertical_spacing=0.06,
    subplot_titles=("Up: best bid and ask, USD", "Spread, USD", "Shares in the book"),
)
for name, values, colour in (("bid", bids, "#2a7f62"), ("ask", asks, "#b3423a")):
    line = go.Scatter(x=seconds, y=values, name=name, line={"color": colour, "width": 1.5})
    figure.add_trace(line, row=1, col=1)
spreads = [ask - bid for bid, ask in zip(bids, asks, strict=True)]
for row, values in ((2, spreads), (3, depths)):
    line = go.Scatter(x=seconds, y=values, showlegend=False, line={"color": "#4a5a70", "width": 1})
    figure.add_trace(line, row=row, col=1)
figure.update_xaxes(title_text="seconds since the window began", row=3, col=1)
figure.update_layout(
    title=tape.market.slug, height=640, width=1000, template="plotly_white", margin={"t": 90}
)
figure

# %% [markdown]
# ## How far does it move in ten seconds?
#
# A taker's order meets the book that stands when it arrives. This is what can happen meanwhile.

# %%
middles = [(bid + ask) / 2 for bid, ask in zip(bids, asks, strict=True)]
inside = [m for s, m in zip(seconds, middles, strict=True) if s >= 0]
moves = [later - earlier for earlier, later in pairwise(inside[::10])]
histogram = go.Figure(go.Histogram(x=moves, nbinsx=40, marker_color="#4a5a70"))
histogram.update_layout(
    title="Moves of the middle of the book within ten seconds",
    xaxis_title="USD",
    yaxis_title="times",
    template="plotly_white",
    height=420,
    width=1000,
    bargap=0.05,
)
histogram

# %%
assert len(seconds) > 500
assert all(0 < bid < ask < 1 for bid, ask in zip(bids, asks, strict=True))
