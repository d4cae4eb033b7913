"""The Polymarket client: wire formats, REST, streams and authentication of the real protocol."""

from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.checks import check_profit, look_at_account
from polyframe.exchange.polymarket.config import PolymarketHosts, StreamSettings
from polyframe.exchange.polymarket.eip712 import TypedData
from polyframe.exchange.polymarket.exchange import PolymarketExchange
from polyframe.exchange.polymarket.pacing import RateLimits
from polyframe.exchange.polymarket.signing import LocalSigner, Signer
from polyframe.exchange.polymarket.wallet import PrivateKey, Wallet, WalletSigner
from polyframe.exchange.polymarket.winnings import redeem_earlier

__all__ = [
    "Credentials",
    "LocalSigner",
    "PolymarketExchange",
    "PolymarketHosts",
    "PrivateKey",
    "RateLimits",
    "Signer",
    "StreamSettings",
    "TypedData",
    "Wallet",
    "WalletSigner",
    "check_profit",
    "look_at_account",
    "redeem_earlier",
]
