"""The local relayer: what deposit wallets have it do on the chain, and what it refuses (PROTOCOL §7.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from polyframe.model.market import Outcome
from polyframe.venue import VenueAccount
from polyframe.venue.chain import Call, NotUnderstood, numbers, read_balances, read_call
from tests.venue.support import Client, open_venue, run
from tests.venue.wallets import Wallet

eth_abi = pytest.importorskip("eth_abi.abi", reason="the extra live is not installed")

WALLET = "0x" + "d0" * 20
PUSD = "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB"
ADAPTER = "0xAdA100Db00Ca00073811820692005400218FcE1f"
SPLIT, MERGE, REDEEM, BALANCES = "72ce4275", "9e7212ad", "01b7037c", "4e1273f4"
"""Selectors of the functions, as the contracts have them."""


def conversion(selector: str, condition: str, amount: int, **changes: Any) -> str:
    """Return the data of a split or merge as an ABI encoder makes it, which is not the venue's."""
    kinds = ["address", "bytes32", "bytes32", "uint256[]", "uint256"]
    values = [PUSD, bytes(32), bytes.fromhex(condition[2:]), [1, 2], amount]
    for position, value in changes.items():
        values[int(position[1:])] = value
    return f"0x{selector}{eth_abi.encode(kinds, values).hex()}"


def redemption(condition: str) -> str:
    """Return the data of a redemption."""
    kinds = ["address", "bytes32", "bytes32", "uint256[]"]
    values = [PUSD, bytes(32), bytes.fromhex(condition[2:]), [1, 2]]
    return f"0x{REDEEM}{eth_abi.encode(kinds, values).hex()}"


class Relayed:
    """A client whose wallet asks the relayer."""

    def __init__(self, client: Client, wallet: Wallet) -> None:
        self.client = client
        self.wallet = wallet
        self.headers = {"RELAYER_API_KEY": "key", "RELAYER_API_KEY_ADDRESS": wallet.address}

    @property
    def account(self) -> VenueAccount:
        """The wallet's account."""
        return self.client.account

    async def get(self, path: str, **params: str) -> tuple[int, Any]:
        """Ask the relayer."""
        url = f"{self.client.venue.url}/relayer{path}"
        answer = await self.client.http.get(url, params=params)
        return answer.status_code, answer.json()

    async def nonce(self) -> int:
        """Return the wallet's next nonce."""
        path = "/v1/account/transactions/params"
        status, params = await self.get(path, address=self.wallet.address, type="WALLET")
        assert status == 200
        return int(params["nonce"])

    async def payload(self, data: str, target: str = ADAPTER, **changes: Any) -> dict[str, Any]:
        """Return a signed batch of one call."""
        deadline = int(self.client.clock.time()) + 600
        nonce = changes.pop("nonce", await self.nonce())
        call = {"target": target, "value": 0, "data": bytes.fromhex(data[2:])}
        signed = self.wallet._sign(
            {
                "name": "DepositWallet",
                "version": "1",
                "chainId": 137,
                "verifyingContract": WALLET,
            },
            {
                "Batch": [
                    {"name": "wallet", "type": "address"},
                    {"name": "nonce", "type": "uint256"},
                    {"name": "deadline", "type": "uint256"},
                    {"name": "calls", "type": "Call[]"},
                ],
                "Call": [
                    {"name": "target", "type": "address"},
                    {"name": "value", "type": "uint256"},
                    {"name": "data", "type": "bytes"},
                ],
            },
            {"wallet": WALLET, "nonce": nonce, "deadline": deadline, "calls": [call]},
        )
        return {
            "type": "WALLET",
            "from": self.wallet.address,
            "nonce": str(nonce),
            "signature": "0x" + bytes(signed.signature).hex(),
            "depositWalletParams": {
                "depositWallet": WALLET,
                "deadline": str(deadline),
                "calls": [{"target": target, "value": "0", "data": data}],
            },
            **changes,
        }

    async def submit(self, payload: Any) -> tuple[int, Any]:
        """Submit a batch."""
        url = f"{self.client.venue.url}/relayer/submit"
        answer = await self.client.http.post(url, json=payload, headers=self.headers)
        return answer.status_code, answer.json()

    async def done(self, data: str, seconds: float = 10) -> dict[str, Any]:
        """Submit a call, let time pass, and return what became of it."""
        status, answer = await self.submit(await self.payload(data))
        assert (status, answer["state"]) == (200, "STATE_NEW"), answer
        await self.client.clock.advance(seconds)
        _, row = await self.get(f"/v1/account/transactions/{answer['transactionID']}")
        result: dict[str, Any] = row
        return result

    def shares(self) -> list[Decimal]:
        """Return what the account holds of both outcomes."""
        return [self.account.held(token) for token in self.client.market.tokens]


def relayed(test: Callable[[Relayed], Awaitable[None]], cash: int = 100, **settings: Any) -> None:
    """Run a test with a wallet that has some cash."""

    async def main() -> None:
        wallet = Wallet()
        async with open_venue(**settings) as first:
            client = first.other(wallet.account(cash, funder=WALLET))
            await test(Relayed(client, wallet))

    run(main)


def test_pairs_are_made_and_merged() -> None:
    """20 USD become 20 of each; 5 of each become 5 USD, when mined; then it is confirmed."""

    async def test(relay: Relayed) -> None:
        condition = relay.client.market.condition_id
        _, answer = await relay.submit(
            await relay.payload(conversion(SPLIT, condition, 20 * 10**6))
        )
        await relay.client.clock.advance(1.9)
        assert relay.shares() == [0, 0]
        await relay.client.clock.advance(0.2)
        assert relay.shares() == [20, 20]
        _, row = await relay.get(f"/v1/account/transactions/{answer['transactionID']}")
        assert row["state"] == "STATE_MINED"
        row = await relay.done(conversion(MERGE, condition, 5 * 10**6))
        assert (row["state"], row["error_msg"]) == ("STATE_CONFIRMED", None)
        assert len(row["transaction_hash"]) == 66
        assert relay.shares() == [15, 15]
        assert relay.account.cash == 85
        assert await relay.nonce() == 2

    relayed(test)


def test_the_data_api_tells_of_it() -> None:
    """Positions are worth what the pairs cost, and the activity has the split and the merge."""

    async def test(relay: Relayed) -> None:
        condition = relay.client.market.condition_id
        await relay.done(conversion(SPLIT, condition, 20 * 10**6))
        await relay.done(conversion(MERGE, condition, 5 * 10**6))
        base = f"{relay.client.venue.url}/data-api"
        params = {"user": WALLET, "sizeThreshold": "0"}
        rows = (await relay.client.http.get(f"{base}/positions", params=params)).json()
        assert [(row["size"], row["initialValue"]) for row in rows] == [(15.0, 7.5), (15.0, 7.5)]
        rows = (await relay.client.http.get(f"{base}/activity", params=params)).json()
        assert sorted((row["type"], row["size"]) for row in rows) == [
            ("MERGE", 5.0),
            ("MERGE", 5.0),
            ("SPLIT", 20.0),
            ("SPLIT", 20.0),
        ]

    relayed(test)


def test_winning_shares_are_redeemed_after_the_resolution() -> None:
    """Before it the transaction fails; afterwards 20 pairs are 20 USD, whoever won."""

    async def test(relay: Relayed) -> None:
        market = relay.client.market
        await relay.done(conversion(SPLIT, market.condition_id, 20 * 10**6))
        early = await relay.done(redemption(market.condition_id))
        assert "not received yet" in early["error_msg"]
        await relay.client.clock.advance(market.end + 300 - relay.client.clock.time())
        assert relay.shares() == [20, 20]
        row = await relay.done(redemption(market.condition_id))
        assert row["state"] == "STATE_CONFIRMED"
        assert relay.shares() == [0, 0]
        assert relay.account.cash == 100

    relayed(test, redeem=False)


def test_what_cannot_be_fails_on_chain_and_moves_nothing() -> None:
    """Too little cash, too few pairs, shares that are not approved."""

    async def test(relay: Relayed) -> None:
        condition = relay.client.market.condition_id
        for data, text in (
            (conversion(SPLIT, condition, 101 * 10**6), "TRANSFER_FROM_FAILED"),
            (conversion(MERGE, condition, 1), "subtraction overflow"),
        ):
            row = await relay.done(data)
            assert row["state"] == "STATE_FAILED"
            assert text in row["error_msg"]
        await relay.done(conversion(SPLIT, condition, 10**6))
        relay.account.approved = False
        row = await relay.done(conversion(MERGE, condition, 10**6))
        assert "approval" in row["error_msg"]
        assert relay.account.cash == 99

    relayed(test)


def test_a_merge_ends_sells_that_it_leaves_without_cover() -> None:
    """The venue withdraws what the account cannot deliver any more (PROTOCOL §5.3)."""

    async def test(relay: Relayed) -> None:
        client, condition = relay.client, relay.client.market.condition_id
        await relay.done(conversion(SPLIT, condition, 20 * 10**6))
        _, body = relay.wallet.body(client, "SELL", "0.60", "20", kind=3, maker=WALLET)
        answer = (await client.signed("POST", "/order", body)).json()
        assert answer["success"], answer
        await relay.done(conversion(MERGE, condition, 5 * 10**6))
        order = (await client.signed("GET", f"/data/order/{answer['orderID']}")).json()
        assert order["status"] == "INVALID"

    relayed(test)


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"type": "SAFE"}, 400, "only deposit wallets"),
        ({"signature": "0x" + "11" * 65}, 400, "invalid signature"),
        ({"nonce": 7}, 400, "batch nonce 7 does not match on-chain nonce 0"),
        ({"from": "0x" + "ab" * 20}, 401, "invalid relayer api key"),
        ({"depositWalletParams": {}}, 400, "expected 1 to 32 calls"),
        ({"depositWalletParams": None}, 400, "depositWalletParams are missing"),
    ],
    ids=["type", "signature", "nonce", "sender", "calls", "params"],
)
def test_what_is_not_signed_for_is_refused(changes: Any, status: int, text: str) -> None:
    """Each in its own words; nothing moves, and the nonce stays."""

    async def test(relay: Relayed) -> None:
        data = conversion(SPLIT, relay.client.market.condition_id, 10**6)
        got = await relay.submit(await relay.payload(data, **changes))
        assert got[0] == status
        assert text in got[1]["error"]
        assert await relay.nonce() == 0

    relayed(test)


def test_a_batch_that_was_changed_after_it_was_signed_is_refused() -> None:
    """The amount, the wallet and the deadline are part of what is signed."""

    async def test(relay: Relayed) -> None:
        condition = relay.client.market.condition_id
        more = conversion(SPLIT, condition, 2 * 10**6)
        for change in (
            {"calls": [{"target": ADAPTER, "value": "0", "data": more}]},
            {"deadline": "9999999999"},
        ):
            payload = await relay.payload(conversion(SPLIT, condition, 10**6))
            payload["depositWalletParams"] |= change
            assert await relay.submit(payload) == (400, {"error": "invalid signature"})

    relayed(test)


def test_a_wallet_does_one_thing_at_a_time_and_each_once() -> None:
    """While one is under way another is refused; one that was taken is not taken again; a late one never."""

    async def test(relay: Relayed) -> None:
        data = conversion(SPLIT, relay.client.market.condition_id, 10**6)
        payload, late = await relay.payload(data), await relay.payload(data, nonce=1)
        assert (await relay.submit(payload))[0] == 200
        assert "wallet busy" in (await relay.submit(await relay.payload(data)))[1]["error"]
        await relay.client.clock.advance(10)
        assert "does not match" in (await relay.submit(payload))[1]["error"]
        await relay.client.clock.advance(600)
        assert await relay.submit(late) == (400, {"error": "deadline is over"})
        assert relay.shares() == [1, 1]

    relayed(test)


def test_the_node_tells_shares_on_chain_and_refuses_the_rest() -> None:
    """Balances of several owners at once; other calls are answered with an error of JSON-RPC."""

    async def test(relay: Relayed) -> None:
        url, up = f"{relay.client.venue.url}/relayer", int(relay.client.up)
        await relay.done(conversion(SPLIT, relay.client.market.condition_id, 3 * 10**6))
        lists = eth_abi.encode(["address[]", "uint256[]"], [[WALLET, "0x" + "01" * 20], [up, up]])
        ask = {"jsonrpc": "2.0", "id": 7, "method": "eth_call"}
        params = [{"to": PUSD, "data": "0x" + BALANCES + lists.hex()}, "latest"]
        answer = (await relay.client.http.post(url, json={**ask, "params": params})).json()
        (held,) = eth_abi.decode(["uint256[]"], bytes.fromhex(answer["result"][2:]))
        assert (answer["id"], held) == (7, (3_000_000, 0))
        chain = await relay.client.http.post(url, json={"id": 1, "method": "eth_chainId"})
        assert chain.json()["result"] == "0x89"
        for wrong in ({"method": "eth_sendRawTransaction"}, {**ask, "params": [{"data": "0x00"}]}):
            assert "error" in (await relay.client.http.post(url, json=wrong)).json()
        assert (await relay.client.http.post(url, json=[])).status_code == 400

    relayed(test)


def test_shares_that_are_not_mined_are_not_on_chain() -> None:
    """Bought pairs can be merged when their trades are mined, not before."""

    async def test(relay: Relayed) -> None:
        client, condition = relay.client, relay.client.market.condition_id
        for outcome in Outcome:
            token = client.market.market.token(outcome)
            _, body = relay.wallet.body(
                client, "BUY", "0.60", "10", token=token, kind=3, maker=WALLET
            )
            assert (await client.signed("POST", "/order", body)).json()["success"]
        blotter = client.venue._blotter
        assert [blotter.on_chain(relay.account, token) for token in client.market.tokens] == [0, 0]
        assert min(relay.shares()) > 0
        await client.clock.advance(5)
        row = await relay.done(conversion(MERGE, condition, 10 * 10**6))
        assert row["state"] == "STATE_CONFIRMED"

    relayed(test)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 4,
        bytes.fromhex(SPLIT) + bytes(31),
        bytes.fromhex(SPLIT) + bytes(32 * 8),
        bytes.fromhex(conversion(SPLIT, "0x" + "11" * 32, 5, _3=[1, 3])[2:]),
        bytes.fromhex(conversion(SPLIT, "0x" + "11" * 32, 0)[2:]),
        bytes.fromhex(conversion(SPLIT, "0x" + "11" * 32, 5, _1=b"\x01" * 32)[2:]),
        bytes.fromhex(conversion(SPLIT, "0x" + "11" * 32, 5, _0="0x" + "22" * 20)[2:]),
    ],
)
def test_bytes_that_are_no_call_of_ours_are_not_understood(data: bytes) -> None:
    """Other functions, torn words, other index sets, another collateral: never half understood."""
    with pytest.raises(NotUnderstood):
        read_call(Call(ADAPTER, data))
    with pytest.raises(NotUnderstood):
        read_balances(data)


def test_numbers_are_encoded_as_contracts_do() -> None:
    """A list of numbers, as an ABI encoder makes it."""
    assert numbers([1, 2**200, 0]) == "0x" + eth_abi.encode(["uint256[]"], [[1, 2**200, 0]]).hex()
