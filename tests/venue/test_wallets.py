"""What wallets sign: API keys (L1) and orders of all four types (PROTOCOL §2.6, §3)."""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from polyframe.venue.keccak import keccak
from polyframe.venue.signatures import Recovery
from polyframe.venue.typed_data import auth_digest, order_digest
from tests.venue.support import START, Client, open_venue, run, snapshot
from tests.venue.wallets import Wallet

VECTORS = Path(__file__).parents[3] / "shared" / "protocol_samples" / "golden_signing_vectors.json"
FAR = snapshot(0, {10: 100}, {90: 100})
SAFE = "0x" + "5a" * 20
INVALID_L1 = {"error": "Invalid L1 Request headers"}


async def l1(client: Client, method: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """Send a request that a wallet signed."""
    answer = await client.http.request(method, f"{client.venue.url}/clob{path}", headers=headers)
    return answer.status_code, answer.json()


# ------------------------------------------------------------------ numbers


def test_keccak_is_ethereums() -> None:
    """Known digests, at the lengths where the padding changes its form."""
    known = {
        b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
        b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
        b"a" * 135: "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446",
        b"a" * 136: "a6c4d403279fe3e0af03729caada8374b5ca54d8065329a3ebcaeb4b60aa386e",
    }
    for data, digest in known.items():
        assert keccak(data).hex() == digest


def test_the_venue_reads_the_published_vectors() -> None:
    """Ids and signatures of all cases, and the claim of an address, are what everybody computes."""
    if not VECTORS.exists():
        pytest.skip("the samples of the protocol are not beside the repository")
    golden = json.loads(VECTORS.read_text())
    recovery = Recovery()
    for case in golden["orders"].values():
        order = case["body"]["order"]
        neg_risk = case["exchange"].lower().startswith("0xe2222")
        digest = order_digest(order, neg_risk=neg_risk, chain_id=golden["chain_id"])
        assert digest.order_id == case["hash"]
        assert recovery.signed_by(
            golden["address"], digest.signed, order["signature"], digest.trailer
        )
        assert not recovery.signed_by(SAFE, digest.signed, order["signature"], digest.trailer)


def test_the_claim_of_an_address_is_the_published_one() -> None:
    """PROTOCOL §3.7: digest and signature for chain 137."""
    address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    digest = auth_digest(address, "1773307205", 0, 137)
    assert digest.hex() == "f2baf367c3b284ad7e01bbd89a1b8fee7b7bc60ec368779aca9e97abc03fc660"
    signature = (
        "0xc504510cf161fce329c2e2eb2a48be1421409f9bac34bf4988b6837640b9884a"
        "6122d3a4109d3c70222b445a13a092838ef53f996ce072f0d1eb4ff23a3d4d701b"
    )
    assert Recovery().signed_by(address, digest, signature)


@pytest.mark.parametrize(
    "signature",
    ["", "0x", "nonsense", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 66, "0x" + "11" * 64],
)
def test_nonsense_is_no_signature(signature: str) -> None:
    """Whatever is sent in place of a signature is refused, not raised."""
    assert not Recovery().signed_by(SAFE, bytes(32), signature)


# ------------------------------------------------------------------ keys


def test_a_wallet_gets_a_key_and_an_account() -> None:
    """Create, derive, list and delete; the account has the welcome cash and trades with the key."""

    async def test() -> None:
        wallet = Wallet()
        async with open_venue([FAR], welcome_cash=250) as first:
            status, key = await l1(first, "POST", "/auth/api-key", wallet.claim(START))
            assert (status, set(key)) == (200, {"apiKey", "secret", "passphrase"})
            account = first.venue.accounts[1]
            assert account.address == wallet.address
            assert account.cash == 250
            assert account.api_key == key["apiKey"]
            status, again = await l1(first, "POST", "/auth/api-key", wallet.claim(START))
            assert (status, again) == (400, {"error": "Could not create api key"})
            status, same = await l1(first, "GET", "/auth/derive-api-key", wallet.claim(START))
            assert (status, same) == (200, key)
            status, other = await l1(first, "POST", "/auth/api-key", wallet.claim(START, 7))
            assert status == 200
            client = Client(first.venue, first.clock, first.market, account)
            async with client.http:
                keys = (await client.signed("GET", "/auth/api-keys")).json()
                assert keys == {"apiKeys": [key["apiKey"], other["apiKey"]]}
                order_id, body = wallet.body(client, "BUY", "0.50", "10")
                answer = (await client.signed("POST", "/order", body)).json()
                assert answer["orderID"] == order_id
                async with client.user_feed() as feed:
                    assert (await client.signed("DELETE", "/auth/api-key")).json() == "OK"
                    with pytest.raises(Exception, match="no close frame"):
                        await feed.frame()
                assert (await client.signed("GET", "/auth/api-keys")).status_code == 401
            status, gone = await l1(first, "GET", "/auth/derive-api-key", wallet.claim(START))
            assert (status, gone) == (400, {"error": "Could not derive api key!"})
            assert (await l1(first, "POST", "/auth/api-key", wallet.claim(START)))[0] == 200

    run(test)


def test_the_claim_of_an_address_must_be_right_and_fresh() -> None:
    """Another's signature, another nonce, an old time, no headers: 401, and no account is made."""

    async def test() -> None:
        wallet, thief = Wallet(), Wallet()
        good = wallet.claim(START)
        bad = [
            {},
            {**good, "POLY_ADDRESS": "0x12"},
            {**good, "POLY_SIGNATURE": thief.claim(START)["POLY_SIGNATURE"]},
            {**good, "POLY_NONCE": "1"},
            {**good, "POLY_NONCE": "x"},
            {**good, "POLY_TIMESTAMP": str(START + 1)},
            {**good, "POLY_TIMESTAMP": "soon"},
            wallet.claim(START - 100),
            {**thief.claim(START), "POLY_ADDRESS": wallet.address},
        ]
        async with open_venue([FAR]) as client:
            for headers in bad:
                for method, path in (
                    ("POST", "/auth/api-key"),
                    ("GET", "/auth/derive-api-key"),
                ):
                    assert await l1(client, method, path, headers) == (401, INVALID_L1), headers
            assert len(client.venue.accounts) == 1

    run(test)


def test_there_is_an_end_to_accounts_and_keys() -> None:
    """Beyond the limits no account is opened and no key is issued."""

    async def test() -> None:
        wallet = Wallet()
        async with open_venue([FAR], max_accounts=2) as client:
            for nonce in range(100):
                claim = wallet.claim(START, nonce)
                assert (await l1(client, "POST", "/auth/api-key", claim))[0] == 200
            refused = (400, {"error": "Could not create api key"})
            claim = wallet.claim(START, 100)
            assert await l1(client, "POST", "/auth/api-key", claim) == refused
            claim = Wallet().claim(START)
            assert await l1(client, "POST", "/auth/api-key", claim) == refused

    run(test)


def test_without_the_packages_signatures_pass_but_local_accounts_stay_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once; nobody gets at the keys of an account that has no wallet."""
    real = importlib.import_module

    def missing(name: str) -> Any:
        if name == "eth_keys":
            raise ModuleNotFoundError(name)
        return real(name)

    monkeypatch.setattr("polyframe.venue.signatures.importlib.import_module", missing)

    async def test() -> None:
        wallet, thief = Wallet(), Wallet()
        forged = {**thief.claim(START), "POLY_ADDRESS": wallet.address}
        async with open_venue([FAR]) as client:
            assert (await l1(client, "POST", "/auth/api-key", forged))[0] == 200
            local = {**thief.claim(START), "POLY_ADDRESS": client.account.address}
            for method, path in (("POST", "/auth/api-key"), ("GET", "/auth/derive-api-key")):
                assert await l1(client, method, path, local) == (401, INVALID_L1)

    with caplog.at_level(logging.WARNING, "polyframe"):
        run(test)
    (record,) = caplog.records
    assert "signatures of wallets are not checked" in record.getMessage()


# ------------------------------------------------------------------ orders


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_orders_of_all_signature_types_are_taken_under_their_digest(kind: int) -> None:
    """The id is the digest that the wallet signed; funds belong to the wallet that is named."""

    async def test() -> None:
        wallet = Wallet()
        async with open_venue([FAR]) as first:
            client = first.other(wallet.account())
            maker = wallet.address if kind == 0 else SAFE
            order_id, body = wallet.body(client, "BUY", "0.50", "10", kind=kind, maker=maker)
            answer = (await client.signed("POST", "/order", body)).json()
            assert answer["orderID"] == order_id
            row = await client.row(order_id)
            assert row["maker_address"].lower() == maker.lower()
            again = await client.signed("POST", "/order", body)
            assert again.json() == {"error": f"order {order_id} is invalid. Duplicated."}

    run(test)


@pytest.mark.parametrize("kind", [0, 1, 3])
def test_every_signed_field_counts(kind: int) -> None:
    """A change to any field that is signed makes the signature wrong."""
    changes: dict[str, Any] = {
        "salt": 77,
        "tokenId": "5",
        "makerAmount": "5000010",
        "takerAmount": "10000010",
        "side": "SELL",
        "timestamp": "1",
        "metadata": "0x" + "1" * 64,
        "builder": "0x" + "2" * 64,
        "maker": "0x" + "3" * 40,
        "signer": "0x" + "4" * 40,
        "signatureType": 2,
        "signature": "0x" + "12" * 65,
    }

    async def test() -> None:
        wallet = Wallet()
        async with open_venue([FAR]) as first:
            maker = wallet.address if kind == 0 else SAFE
            client = first.other(wallet.account(funder=maker))
            _, body = wallet.body(client, "BUY", "0.50", "10", kind=kind, maker=maker)
            for name, value in changes.items():
                wrong = {**body, "order": {**body["order"], name: value}}
                answer = await client.signed("POST", "/order", wrong)
                assert (answer.status_code, answer.json()) == (
                    400,
                    {"error": "invalid signature"},
                ), name
            assert (await client.signed("POST", "/order", body)).status_code == 200

    run(test)


def test_a_stand_in_is_no_signature_of_a_wallet() -> None:
    """Only accounts that are local may use it."""

    async def test() -> None:
        async with open_venue([FAR]) as first:
            client = first.other(Wallet().account())
            assert await client.refused("BUY", "0.50", "10") == (400, "invalid signature")

    run(test)


def test_funds_belong_to_one_signer() -> None:
    """A wallet of somebody else, or a second one, cannot be named as maker."""
    wrong = (400, {"error": "the order signer address has to be the address of the API KEY"})

    async def test() -> None:
        wallet, other = Wallet(), Wallet()
        async with open_venue([FAR]) as first:
            client = first.other(wallet.account(funder=SAFE))
            thief = first.other(other.account())
            bodies = [
                (thief, other.body(thief, "BUY", "0.50", "10", kind=2, maker=SAFE)[1]),
                (thief, other.body(thief, "BUY", "0.50", "10", kind=2, maker=wallet.address)[1]),
                (thief, other.body(thief, "BUY", "0.50", "10", kind=0, maker=SAFE)[1]),
                (client, wallet.body(client, "BUY", "0.50", "10", kind=0)[1]),
                (client, wallet.body(client, "BUY", "0.5", "10", kind=3, maker=other.address)[1]),
            ]
            for sender, body in bodies:
                answer = await sender.signed("POST", "/order", body)
                assert (answer.status_code, answer.json()) == wrong
            _, body = wallet.body(client, "BUY", "0.50", "10", kind=2, maker=SAFE)
            assert (await client.signed("POST", "/order", body)).status_code == 200

    run(test)
