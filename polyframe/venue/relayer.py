"""The relayer: split, merge and redeem for deposit wallets, without gas (PROTOCOL §7.4).

Beside it lies what clients ask a node of the chain before: shares on chain, and the time of the latest
block. Wallet contracts need no deployment here: every one that is asked for counts as deployed.
"""

from __future__ import annotations

import secrets
import uuid
from collections import deque
from typing import Any

from attrs import define
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.venue.account import ADDRESS, VenueAccount
from polyframe.venue.accounts import Accounts
from polyframe.venue.blotter import Blotter
from polyframe.venue.chain import (
    ADAPTER,
    MERGE,
    NEG_RISK_ADAPTER,
    REDEEM,
    SPLIT,
    NotUnderstood,
    Wanted,
    batch_digest,
    numbers,
    read_balances,
    read_batch,
    read_call,
)
from polyframe.venue.floor import Floor
from polyframe.venue.intents import Refusal
from polyframe.venue.listing import Listing
from polyframe.venue.rest import answering, read_json
from polyframe.venue.settings import VenueSettings
from polyframe.venue.signatures import Recovery
from polyframe.venue.tasks import TaskSet
from polyframe.venue.values import SHARE, VenueMarket

_WALLET = "WALLET"
_REMEMBERED = 1_000


@define(eq=False)
class _Transaction:
    """One batch that was taken in."""

    name: str
    account: VenueAccount
    wanted: list[tuple[VenueMarket, Wanted]]
    state: str = "STATE_NEW"
    hash: str = ""
    error: str = ""

    def row(self) -> dict[str, Any]:
        return {
            "transaction_id": self.name,
            "state": self.state,
            "transaction_hash": self.hash,
            "error_msg": self.error or None,
        }


class RelayerApi:
    """The routes below ``/relayer``.

    Args:
        accounts: Whose wallets there are.
        blotter: Moves shares and cash.
        listing: Which markets there are, and how they ended.
        floor: Their books.
        clock: The venue's time.
        tasks: Owner of what is under way.
        settings: How long it takes.
        recovery: Reads the signer out of a signature.
    """

    def __init__(
        self,
        accounts: Accounts,
        blotter: Blotter,
        listing: Listing,
        floor: Floor,
        clock: Clock,
        tasks: TaskSet,
        settings: VenueSettings,
        recovery: Recovery,
    ) -> None:
        self._accounts = accounts
        self._blotter = blotter
        self._listing = listing
        self._floor = floor
        self._clock = clock
        self._tasks = tasks
        self._settings = settings
        self._recovery = recovery
        self._nonces: dict[str, int] = {}
        self._busy: dict[str, _Transaction] = {}
        self._transactions: dict[str, _Transaction] = {}
        self._order: deque[str] = deque()

    def routes(self) -> list[Route]:
        """Return them."""
        base = "/relayer"
        known = f"{base}/v1/account/transactions"
        return [
            Route(f"{base}/deployed", _deployed),
            Route(f"{known}/params", answering(self._params)),
            Route(f"{known}/{{name}}", answering(self._transaction)),
            Route(f"{base}/submit", answering(self._submit), methods=["POST"]),
            Route(base, answering(self._node), methods=["POST"]),
            Route(f"{base}/", answering(self._node), methods=["POST"]),
        ]

    # ------------------------------------------------------------------ transactions

    async def _params(self, request: Request) -> Response:
        address = request.query_params.get("address", "")
        if request.query_params.get("type") != _WALLET:
            raise Refusal(400, "only deposit wallets (type WALLET) are relayed here")
        account = self._accounts.by_address(address) if ADDRESS.fullmatch(address) else None
        if account is None:
            raise Refusal(400, f"no account of {address}")
        return JSONResponse({"address": address, "nonce": str(self._nonce(account))})

    def _nonce(self, account: VenueAccount) -> int:
        return self._nonces.get(account.funder.lower(), 0)

    async def _transaction(self, request: Request) -> Response:
        found = self._transactions.get(request.path_params["name"])
        if found is None:
            raise Refusal(404, "transaction not found")
        return JSONResponse(found.row())

    async def _submit(self, request: Request) -> Response:
        payload = await read_json(request)
        try:
            account, wanted = self._checked(payload, request)
        except NotUnderstood as problem:
            raise Refusal(400, f"invalid request: {problem}") from None
        wallet = account.funder.lower()
        if wallet in self._busy:
            raise Refusal(400, f"wallet busy: {wallet} has an active action")
        self._nonces[wallet] = self._nonce(account) + 1
        made = _Transaction(str(uuid.uuid4()), account, wanted)
        self._busy[wallet] = self._transactions[made.name] = made
        self._order.append(made.name)
        if len(self._order) > _REMEMBERED:
            del self._transactions[self._order.popleft()]
        self._tasks.spawn(self._carry_out(made), f"venue-relay-{made.name}")
        answer = {"transactionID": made.name, "state": made.state, "transactionHash": ""}
        return JSONResponse(answer)

    def _checked(
        self, payload: Any, request: Request
    ) -> tuple[VenueAccount, list[tuple[VenueMarket, Wanted]]]:
        """Return whose batch it is and what it asks for.

        Raises:
            NotUnderstood: It is not of the form that the relayer takes.
            Refusal: Nobody here may ask for that.
        """
        if not isinstance(payload, dict) or payload.get("type") != _WALLET:
            raise NotUnderstood("only deposit wallets (type WALLET) are relayed here")
        params, sender = payload.get("depositWalletParams"), payload.get("from")
        if not isinstance(params, dict) or not isinstance(sender, str):
            raise NotUnderstood("from and depositWalletParams are missing")
        calls = read_batch(params)
        try:
            wallet, deadline = str(params["depositWallet"]), int(params["deadline"])
            nonce, signature = int(payload["nonce"]), str(payload["signature"])
        except (KeyError, TypeError, ValueError):
            raise NotUnderstood("depositWallet, deadline, nonce and signature are needed") from None
        given = request.headers.get("RELAYER_API_KEY_ADDRESS", "")
        if not request.headers.get("RELAYER_API_KEY") or given.lower() != sender.lower():
            raise Refusal(401, "invalid relayer api key")
        account = self._accounts.by_address(sender) if ADDRESS.fullmatch(sender) else None
        if account is None or not ADDRESS.fullmatch(wallet):
            raise Refusal(400, f"no account of {sender}")
        if account.is_local or not self._accounts.bind(account, wallet):
            raise Refusal(400, f"{wallet} is no wallet of {sender}")
        digest = batch_digest(wallet, nonce, deadline, calls, self._settings.chain_id)
        if not self._recovery.signed_by(account.address, digest, signature):
            raise Refusal(400, "invalid signature")
        if nonce != self._nonce(account):
            expected = self._nonce(account)
            raise Refusal(400, f"batch nonce {nonce} does not match on-chain nonce {expected}")
        if deadline <= self._clock.time():
            raise Refusal(400, "deadline is over")
        return account, [self._market_of(read_call(call)) for call in calls]

    def _market_of(self, wanted: Wanted) -> tuple[VenueMarket, Wanted]:
        market = self._listing.by_condition(wanted.condition_id)
        if market is None:
            raise NotUnderstood(f"no market of condition {wanted.condition_id}")
        adapter = NEG_RISK_ADAPTER if market.market.neg_risk else ADAPTER
        if wanted.adapter != adapter.lower():
            raise NotUnderstood(f"expected a call of the collateral adapter {adapter}")
        return market, wanted

    async def _carry_out(self, made: _Transaction) -> None:
        settings, began = self._settings, self._clock.time()
        await self._clock.sleep_until(began + settings.mined_after)
        del self._busy[made.account.funder.lower()]
        made.hash = "0x" + secrets.token_hex(32)
        # A batch is carried out as a whole or not at all.
        if problem := self._problem(made):
            made.state, made.error = "STATE_FAILED", problem
            return
        for market, wanted in made.wanted:
            self._convert(made, market, wanted)
        made.state = "STATE_MINED"
        await self._clock.sleep_until(began + settings.confirmed_after)
        made.state = "STATE_CONFIRMED"

    def _problem(self, made: _Transaction) -> str:
        """Return why a batch fails on chain, ``""`` if it does not."""
        account = made.account
        cash = account.spendable
        given: dict[str, Any] = {}
        for market, wanted in made.wanted:
            if wanted.kind == SPLIT:
                cash -= wanted.shares
                if cash < 0:
                    return "execution reverted: TRANSFER_FROM_FAILED"
                continue
            if not account.approved:
                return "execution reverted: ERC1155: need operator approval for 3rd party transfers"
            if wanted.kind == REDEEM and self._listing.winner(market) is None:
                return "execution reverted: result for condition not received yet"
            for token in market.tokens if wanted.kind == MERGE else ():
                given[token] = given.get(token, 0) + wanted.shares
                if self._blotter.on_chain(account, token) < given[token]:
                    return "execution reverted: SafeMath: subtraction overflow"
        return ""

    def _convert(self, made: _Transaction, market: VenueMarket, wanted: Wanted) -> None:
        live = self._floor.live(market)
        if wanted.kind == REDEEM:
            winner = self._listing.winner(market)
            for outcome in Outcome:
                self._blotter.redeem(made.account, live, outcome, outcome is winner)
            return
        shares = wanted.shares if wanted.kind == SPLIT else -wanted.shares
        self._blotter.convert(made.account, live, wanted.kind, shares, made.hash)

    # ------------------------------------------------------------------ the node

    async def _node(self, request: Request) -> Response:
        """Answer a question to a node of the chain (JSON-RPC)."""
        asked = await read_json(request)
        if not isinstance(asked, dict):
            raise Refusal(400, "expected one JSON-RPC request")
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
        try:
            answer["result"] = self._answer(str(asked.get("method")), asked.get("params"))
        except (NotUnderstood, KeyError, IndexError, TypeError, ValueError) as problem:
            answer["error"] = {"code": -32_601, "message": f"not understood here: {problem}"}
        return JSONResponse(answer)

    def _answer(self, method: str, params: Any) -> Any:
        if method == "eth_chainId":
            return hex(self._settings.chain_id)
        if method == "eth_getBlockByNumber":
            return {"number": "0x1", "timestamp": hex(int(self._clock.time()))}
        if method != "eth_call":
            raise NotUnderstood(method)
        asked = read_balances(bytes.fromhex(params[0]["data"][2:]))
        return numbers([self._balance(owner, token) for owner, token in asked])

    def _balance(self, owner: str, token: str) -> int:
        account = self._accounts.by_address(owner)
        return 0 if account is None else max(int(self._blotter.on_chain(account, token) * SHARE), 0)


async def _deployed(_: Request) -> Response:
    return JSONResponse({"deployed": True})
