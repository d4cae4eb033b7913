"""The Polymarket client: wire formats, REST, streams and authentication of the real protocol."""

from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import PolymarketHosts, StreamSettings
from polyframe.exchange.polymarket.exchange import PolymarketExchange
from polyframe.exchange.polymarket.signing import LocalSigner, Signer

__all__ = [
    "Credentials",
    "LocalSigner",
    "PolymarketExchange",
    "PolymarketHosts",
    "Signer",
    "StreamSettings",
]
