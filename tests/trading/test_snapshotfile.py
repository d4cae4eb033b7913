"""Files of snapshots: what was written comes back, and nothing else is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from attrs import evolve
from hypothesis import given, settings

from polyframe.trading.account import Account
from polyframe.trading.commands import CycleCommand
from polyframe.trading.engine import OrderEngine
from polyframe.trading.image import CycleImage
from polyframe.trading.snapshotfile import Bucket, Content, Owner, RefusedError, decode, encode
from tests.trading.builders import G1, G2, Desk, dec, make_market
from tests.trading.scripts import commands, opening, scripts

OWNER = Owner("venue", "0xme", is_live=False)
BUCKET = Bucket.of(make_market(G1))


def image(script: list[CycleCommand]) -> CycleImage:
    """Return the image of a cycle after the commands of a script."""
    engine = OrderEngine(Account(dec("40")))
    engine.reset(make_market(G1))
    for command in script:
        engine.submit(command)
    assert engine.state is not None
    return engine.state.image()


def file_of(kept: CycleImage) -> bytes:
    """Return the file of an image."""
    return encode(OWNER, Content(kept, dec("40"), 900_000, {"mine": msgspec.Raw(b'{"a":1}')}))


@settings(max_examples=100, deadline=None)
@given(scripts(commands(G1), 25).map(lambda script: opening(G1) + script))
def test_what_was_written_comes_back(script: list[CycleCommand]) -> None:
    """Whatever happened in a cycle, its file holds it to the last digit, and reads the same twice."""
    kept = image(script)
    content = decode(OWNER, BUCKET, file_of(kept))
    assert kept == content.image
    assert (dec("40"), 900_000, b'{"a":1}') == (
        content.cash,
        content.time_ms,
        bytes(content.fields["mine"]),
    )
    assert file_of(content.image) == file_of(kept)


def with_foreign_order(kept: CycleImage) -> CycleImage:
    """Let one order be of the next cycle."""
    return evolve(kept, orders=(evolve(kept.orders[0], generation=G2), *kept.orders[1:]))


def with_foreign_fill(kept: CycleImage) -> CycleImage:
    """Let one fill be of the next cycle."""
    return evolve(kept, fills=(*kept.fills[:-1], evolve(kept.fills[-1], generation=G2)))


def with_order_twice(kept: CycleImage) -> CycleImage:
    """Let two orders have one id."""
    twice = evolve(kept.orders[1], client_id=kept.orders[0].client_id)
    return evolve(kept, orders=(kept.orders[0], twice, *kept.orders[2:]))


@pytest.mark.parametrize("spoil", [with_foreign_order, with_foreign_fill, with_order_twice])
def test_a_whole_file_that_contradicts_itself_is_refused(
    spoil: Callable[[CycleImage], CycleImage],
) -> None:
    """Its check sum is right, and still nothing of another cycle gets in by it."""
    desk = Desk()
    desk.live("c1")
    desk.live("c2")
    desk.trade("t1", desk.leg("v1"))
    kept = desk.state.image()
    assert decode(OWNER, BUCKET, file_of(kept)).image == kept
    with pytest.raises(RefusedError) as caught:
        decode(OWNER, BUCKET, file_of(spoil(kept)))
    assert "wrong_generation" == caught.value.reason


def test_a_file_whose_market_is_not_that_of_its_name_is_refused() -> None:
    """The first line, the name and the market inside have to agree."""
    first, body, _ = file_of(image(opening(G1))).split(b"\n")
    other = file_of(evolve(image([]), market=make_market(G2))).split(b"\n")[1]
    header: dict[str, Any] = msgspec.json.decode(first)
    header |= {"bytes": len(other), "sha256": hashlib.sha256(other).hexdigest()}
    with pytest.raises(RefusedError, match=f"its market is {make_market(G2).slug}"):
        decode(OWNER, BUCKET, msgspec.json.encode(header) + b"\n" + other + b"\n")
    assert decode(OWNER, BUCKET, first + b"\n" + body + b"\n").image.orders


def test_a_whole_file_that_no_version_of_ours_wrote_is_refused() -> None:
    """A body that its first line vouches for, but that cannot be read, is somebody else's."""
    first = file_of(image(opening(G1))).split(b"\n")[0]
    body = b'{"image":{"market":"none"},"cash":"1","time_ms":1}'
    header: dict[str, Any] = msgspec.json.decode(first)
    header |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    with pytest.raises(RefusedError) as caught:
        decode(OWNER, BUCKET, msgspec.json.encode(header) + b"\n" + body + b"\n")
    assert "foreign" == caught.value.reason
