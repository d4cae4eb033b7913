"""The body of ``POST /order``: what an order says before it is signed (PROTOCOL §2.3)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from polyframe.errors import ConfigError
from polyframe.exchange.polymarket.amounts import order_amounts
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.signing import LocalSigner, Signer
from polyframe.model.grid import FINEST_TICK
from polyframe.model.market import Market
from polyframe.model.order import OrderRequest

_ZERO_WORD = "0x" + "0" * 64


def unsigned_body(
    market: Market, request: OrderRequest, signer: Signer, owner: str, timestamp_ms: int
) -> dict[str, Any]:
    """Return the body of an order, but for its signature.

    A price between the market's ticks is taken as long as it is on a finer one: the tick of the
    moment is known to who asks, and `market` may be older than the last change of it.

    Args:
        market: The market.
        request: What is wanted.
        signer: Whose funds it moves.
        owner: The API key.
        timestamp_ms: Epoch milliseconds; the venue tells orders apart by it, too.

    Raises:
        ValueError: Price or size cannot be written as an order.
    """
    tick = FINEST_TICK if request.price % market.tick_size else market.tick_size
    maker_amount, taker_amount = order_amounts(request, tick)
    order = {
        "salt": secrets.randbits(53),
        "maker": signer.maker,
        "signer": signer.signer,
        "tokenId": market.token(request.outcome),
        "makerAmount": str(maker_amount),
        "takerAmount": str(taker_amount),
        "side": request.side.value,
        "signatureType": signer.signature_type,
        "timestamp": str(timestamp_ms),
        "metadata": _ZERO_WORD,
        "builder": _ZERO_WORD,
        "expiration": str(request.expires or 0),
    }
    return {
        "deferExec": False,
        "order": order,
        "orderType": request.order_type.value,
        "owner": owner,
        "postOnly": request.post_only,
    }


async def signed_body(body: Mapping[str, Any], signer: Signer, *, neg_risk: bool) -> dict[str, Any]:
    """Return `body` with the order's signature. Raises what the signer raises."""
    order = body["order"]
    signature = await signer.sign(order, neg_risk=neg_risk)
    return {**body, "order": {**order, "signature": signature}}


def live_confirmation(signer: Signer) -> str:
    """Return what the setting ``confirm_live`` has to say for orders that move real money."""
    return f"real money of {signer.maker}"


def check_confirmed(signer: Signer, confirm_live: str) -> None:
    """Refuse to sign for the real venue unless both opt-ins are there.

    Raises:
        ConfigError: The signer is a stand-in, or the confirmation is missing or names other funds.
    """
    if isinstance(signer, LocalSigner):
        msg = (
            "signer: LocalSigner is a stand-in that only a venue on this machine accepts; give a "
            "WalletSigner"
        )
        raise ConfigError(msg)
    needed = live_confirmation(signer)
    if confirm_live.lower() != needed.lower():
        msg = (
            "confirm_live: orders at this venue move real money; to allow that, set "
            f"confirm_live={needed!r} on PolymarketExchange"
        )
        raise ConfigError(msg)


def check_owner(signer: Signer, credentials: Credentials) -> None:
    """Refuse credentials of another key: the venue would refuse every order (PROTOCOL §3.3).

    Raises:
        ConfigError: They are.
    """
    if signer.address.lower() != credentials.address.lower():
        msg = (
            f"credentials: their address is {credentials.address}, but orders are signed by "
            f"{signer.address}; API credentials belong to the key that signs"
        )
        raise ConfigError(msg)
