"""Signatures of orders and log-ins: the published vectors, and an independent encoder."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import eip712 as eip712_module
from polyframe.exchange.polymarket import wallet as wallet_module
from polyframe.exchange.polymarket.eip712 import (
    ORDER_TYPE,
    TypedData,
    checked_address,
    keccak,
    login,
    order_hashes,
)
from polyframe.exchange.polymarket.wallet import (
    PrivateKey,
    Wallet,
    WalletSigner,
    checked_signature,
)
from tests.exchange.ethereum import Account, encode_typed_data
from tests.exchange.kit import DEVELOPMENT_KEY, sample

OWN = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
FUNDS = "0x" + "11" * 20
ZERO = "0x" + "0" * 64
TOKEN = "8501497159083948713316135768103773293754490207922884688769443031624417212426"
STANDARD = "3264e159346253e26a64e00b69032db0e7d32f94628de3e6eecb50304d7af3d2"
NEG_RISK = "9b858f53327b0bd13af8ec14cfb35234fb9eb7b0504d1a4e61f433840d30e81a"

KEY = PrivateKey(DEVELOPMENT_KEY)


def _order(signer: WalletSigner, **changes: Any) -> dict[str, Any]:
    return {
        "salt": 479249096354,
        "maker": signer.maker,
        "signer": signer.signer,
        "tokenId": TOKEN,
        "makerAmount": "3842500",
        "takerAmount": "7250000",
        "side": "BUY",
        "signatureType": signer.signature_type,
        "timestamp": "1773307205123",
        "metadata": ZERO,
        "builder": ZERO,
        "expiration": "0",
    } | changes


def _signed(signer: WalletSigner, order: Mapping[str, Any], neg_risk: bool) -> tuple[str, str]:
    signature = asyncio.run(signer.sign(order, neg_risk=neg_risk))
    return signer.order_id(order, neg_risk=neg_risk), signature


@pytest.mark.parametrize(
    ("kind", "neg_risk", "order_id", "signature"),
    [
        (
            0,
            False,
            "0x62f0475b3e76a6cad5c8df1f89929cba48e358d94fa2b90129035c2e44c72fe8",
            (
                "0x68f53ec0ec6bf30d0d49d4d083d54fb4fffb5387afe65245cd1b43664af15851"
                "7963179846b0f2b646ac47de1ac97f33c12cb24794457ebebac348dfb93c42021b"
            ),
        ),
        (
            0,
            True,
            "0x293e600809cc70f67f0de73bf2dcfa3f6271203c85d27d442488b22499608aff",
            (
                "0x11ab293f00fb87ac17d25ffe36cbd9d7cc76a8474cca56c94cb48614cef0214d"
                "0349aa5ce13de8865983f3a35ffe02bcf850f861601b33a9f51300fb99e775af1c"
            ),
        ),
        (
            1,
            False,
            "0xddb4b065fdd0ffc6b4699d588e3a401239d49b60ebdc31b783448c9b9a7e25fe",
            (
                "0x36a7007568ad90abe8636c356b9ea73216f29afc961dcd2b73cd506d74e799af"
                "21d9a7e2095fbf713ca55f7a8dde59886d1a4a74baea53034b6c883ad17fe6ef1b"
            ),
        ),
        (
            3,
            False,
            "0x0e78e7fd80f0f58e8891288bf27882ba1a7c3fab0415c8468f41da70a55f437f",
            (
                "0x75d3cb2c90c19d9a9c5b70d079ad117674b8a3991bc38d43b2f6386dd370dd7f"
                "3ff39b140e3ebeaea264025b9feb41685e936ccdc20f388d279862321f3ac4a21b"
            ),
        ),
    ],
)
def test_the_published_order_vectors(
    kind: int, neg_risk: bool, order_id: str, signature: str
) -> None:
    """Ids and signatures are those of PROTOCOL §3.7, which both official clients made."""
    signer = WalletSigner(KEY, FUNDS if kind else None, kind)
    found_id, found = _signed(signer, _order(signer), neg_risk)
    assert found_id == order_id
    assert found[:132] == signature
    trailer = found[132:]
    if kind == 3:
        assert len(bytes.fromhex(found[2:])) == 317
        assert trailer.startswith(STANDARD)
        assert bytes.fromhex(trailer[128:-4]).decode() == ORDER_TYPE
        assert int(trailer[-4:], 16) == 186
    else:
        assert trailer == ""


def test_the_official_vector_of_another_chain() -> None:
    """Type 3 on the test chain, from the official client's own tests (PROTOCOL §3.7)."""
    signer = WalletSigner(KEY, FUNDS, 3, chain_id=80002)
    order = _order(
        signer,
        tokenId="1234",
        makerAmount="100000000",
        takerAmount="50000000",
        timestamp="1710000000000",
    )
    hashes = order_hashes(order, neg_risk=False, chain_id=80002)
    assert hashes.order_id == "0x2afca94626db91b2d556c351584a4cd93e13da32e377dc48c7983e43afa5ab47"
    assert asyncio.run(signer.sign(order, neg_risk=False))[:132] == (
        "0xa3a093c83b6c20c83355c16ce94c92e6e9fcbdeb840618cc74f6c57a42ad145b"
        "2b98db73d2c73cbf1f2b6af288566ae81960ddbc3a13921027358a8bff3be6ff1c"
    )


def test_the_recorded_vectors() -> None:
    """Whole bodies of the recorded vectors are reproduced, signature and all."""
    vectors = json.loads(sample("golden_signing_vectors"))
    assert len(vectors["orders"]) >= 4
    for name, vector in vectors["orders"].items():
        order = vector["body"]["order"]
        kind = order["signatureType"]
        signer = WalletSigner(PrivateKey(vectors["private_key"]), order["maker"], kind)
        order_id, signature = _signed(signer, order, name.endswith("negrisk"))
        assert (order_id, signature) == (vector["hash"], order["signature"]), name


@pytest.mark.parametrize(
    ("chain_id", "timestamp", "nonce", "signature"),
    [
        (
            137,
            1773307205,
            0,
            (
                "c504510cf161fce329c2e2eb2a48be1421409f9bac34bf4988b6837640b9884a"
                "6122d3a4109d3c70222b445a13a092838ef53f996ce072f0d1eb4ff23a3d4d701b"
            ),
        ),
        (
            80002,
            10000000,
            23,
            (
                "f62319a987514da40e57e2f4d7529f7bac38f0355bd88bb5adbb3768d80de6c1"
                "682518e0af677d5260366425f4361e7b70c25ae232aff0ab2331e2b164a1aedc1b"
            ),
        ),
    ],
)
def test_the_published_login_vectors(
    chain_id: int, timestamp: int, nonce: int, signature: str
) -> None:
    """Log-ins are signed as PROTOCOL §3.7 says."""
    data = login(KEY.address, timestamp, nonce, chain_id)
    assert asyncio.run(KEY.sign(data)).hex() == signature
    if chain_id == 137:
        digest = "f2baf367c3b284ad7e01bbd89a1b8fee7b7bc60ec368779aca9e97abc03fc660"
        assert data.digest.hex() == digest


WORDS = st.integers(0, 2**256 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
BYTES32 = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())


@given(
    order=st.fixed_dictionaries(
        {
            "salt": st.integers(0, 2**53 - 1),
            "maker": ADDRESSES,
            "signer": ADDRESSES,
            "tokenId": WORDS.map(str),
            "makerAmount": WORDS.map(str),
            "takerAmount": WORDS.map(str),
            "side": st.sampled_from(["BUY", "SELL"]),
            "signatureType": st.integers(0, 3),
            "timestamp": WORDS.map(str),
            "metadata": BYTES32,
            "builder": BYTES32,
        }
    ),
    neg_risk=st.booleans(),
)
def test_the_digest_is_the_one_of_the_document(order: dict[str, Any], neg_risk: bool) -> None:
    """What a device shows and what is signed are the same, by an independent encoder's word."""
    hashes = order_hashes(order, neg_risk=neg_risk, chain_id=137)
    assert _digest_of(hashes.signed) == hashes.signed.digest
    if order["signatureType"] != 3:
        assert hashes.order_id == "0x" + hashes.signed.digest.hex()
    separator = NEG_RISK if neg_risk else STANDARD
    assert hashes.trailer[:32].hex() == (separator if order["signatureType"] == 3 else "")


def _digest_of(data: TypedData) -> bytes:
    message = encode_typed_data(full_message=json.loads(json.dumps(data.document)))
    return keccak(b"\x19" + message.version + message.header + message.body)


def test_the_document_of_a_login_is_what_is_signed() -> None:
    """The same holds for log-ins."""
    data = login(OWN, 1773307205, 5, 137)
    assert _digest_of(data) == data.digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokenId", "1234"),
        ("salt", -1),
        ("maker", "0x12"),
        ("side", "HOLD"),
        ("signatureType", 256),
        ("makerAmount", str(2**256)),
        ("builder", "0x00"),
    ],
)
def test_an_order_that_the_exchange_cannot_hold_is_refused(name: str, value: Any) -> None:
    """Nothing is cut or wrapped to fit, and tokens of an exchange of version 3 are refused."""
    signer = WalletSigner(KEY)
    with pytest.raises((ValueError, KeyError)):
        signer.order_id(_order(signer, **{name: value}), neg_risk=False)


# -- keys ----------------------------------------------------------------------------------------


def test_a_key_does_not_show(caplog: pytest.LogCaptureFixture) -> None:
    """Neither repr, str, pickling, copying nor a signer's repr has the key in it."""
    caplog.set_level(logging.DEBUG)
    digits = DEVELOPMENT_KEY[2:]
    signer = WalletSigner(KEY)
    shown = [repr(KEY), str(KEY), f"{signer}", f"{signer!r}", str(vars(type(KEY)))]
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied") as caught:
            attempt(KEY)
        shown.append(str(caught.value))
    shown.append(caplog.text)
    assert KEY.address in shown[0]
    assert not any(digits.lower() in text.lower() for text in shown)


@pytest.mark.parametrize(
    "secret",
    [
        None,
        "",
        "0x",
        DEVELOPMENT_KEY[:-1],
        DEVELOPMENT_KEY + "0",
        "0x" + "g" * 64,
        "0" * 64,
        "f" * 64,
    ],
)
@pytest.mark.parametrize("slow", [False, True])
def test_what_is_no_key_is_refused_without_showing_it(
    secret: Any, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the setting; nothing in it or its cause is the value."""
    if slow:
        monkeypatch.setitem(sys.modules, "coincurve", None)
    with pytest.raises(ConfigError, match=r"^private_key: ") as caught:
        PrivateKey(secret)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    if secret and len(secret) > 2:
        assert secret not in str(caught.value)


@pytest.mark.parametrize("text", [DEVELOPMENT_KEY, DEVELOPMENT_KEY[2:], f" {DEVELOPMENT_KEY}\n"])
def test_the_address_follows_from_the_key(text: str) -> None:
    """With or without 0x and blanks around it, the key has its address, checksum and all."""
    assert PrivateKey(text).address == OWN == Account.from_key(DEVELOPMENT_KEY).address


def test_without_coincurve_signatures_are_the_same_and_the_cost_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The slow way signs the same bytes; one warning says what it costs and what to install."""
    monkeypatch.setitem(sys.modules, "coincurve", None)
    wallet_module._warn_of_slow_keys.cache_clear()
    slow, again = PrivateKey(DEVELOPMENT_KEY), PrivateKey("0x" + "12" * 32)
    assert again.address != slow.address
    data = login(OWN, 1773307205, 0, 137)
    assert asyncio.run(slow.sign(data)) == asyncio.run(KEY.sign(data))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "blocks the event loop for" in record.message
    assert "pip install '.[live]' in the checkout" in record.message


def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The names can be imported; a key or a hash then names the extra whose packages are missing."""
    for name in [n for n in sys.modules if n.startswith(("eth_", "coincurve"))]:
        monkeypatch.setitem(sys.modules, name, None)
    eip712_module._keccak.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"pip install .\.\[live\]. in the checkout"):
            PrivateKey(DEVELOPMENT_KEY)
        with pytest.raises(ConfigError, match=r"pip install .\.\[live\]. in the checkout"):
            keccak(b"")
    finally:
        eip712_module._keccak.cache_clear()


def test_signing_changes_nothing_of_the_process() -> None:
    """Neither the fast nor the slow way raises the recursion limit, which guards against bad JSON."""
    code = """
import asyncio, sys
before = sys.getrecursionlimit()
if len(sys.argv) > 1:
    sys.modules["coincurve"] = None
from polyframe.exchange.polymarket.eip712 import login
from polyframe.exchange.polymarket.wallet import PrivateKey
key = PrivateKey("12" * 32)
asyncio.run(key.sign(login(key.address, 1, 0, 137)))
print(sys.getrecursionlimit() - before, "eth_account" in sys.modules)
"""
    for slow in ([], ["slow"]):
        command = [sys.executable, "-c", code, *slow]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == "0 False"


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_a_signer_can_come_from_the_environment(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, funds and type are read from three variables; type 0 needs only the key."""
    monkeypatch.setenv("X_PRIVATE_KEY", DEVELOPMENT_KEY)
    for name in ("X_FUNDER", "X_SIGNATURE_TYPE"):
        monkeypatch.delenv(name, raising=False)
    if kind:
        monkeypatch.setenv("X_FUNDER", FUNDS)
        monkeypatch.setenv("X_SIGNATURE_TYPE", str(kind))
    signer = WalletSigner.from_env("X_")
    assert (signer.signature_type, signer.address) == (kind, OWN)
    assert signer.maker == (FUNDS if kind else OWN)
    assert signer.signer == (FUNDS if kind == 3 else OWN)


def test_a_missing_or_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, and never shows a key."""
    monkeypatch.setenv("X_PRIVATE_KEY", " ")
    with pytest.raises(ConfigError, match="X_PRIVATE_KEY"):
        PrivateKey.from_env("X_PRIVATE_KEY")
    monkeypatch.setenv("X_PRIVATE_KEY", DEVELOPMENT_KEY)
    monkeypatch.setenv("X_SIGNATURE_TYPE", "4")
    with pytest.raises(ConfigError, match="X_SIGNATURE_TYPE"):
        WalletSigner.from_env("X_")


@pytest.mark.parametrize(
    ("funder", "kind", "field"),
    [
        (None, 4, "signature_type"),
        (None, -1, "signature_type"),
        (FUNDS, 0, "signature_type"),
        (None, 1, "funder"),
        (OWN, 3, "funder"),
        ("0x12", 1, "funder"),
        (OWN[:-2] + "aB", 1, "funder"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    funder: str | None, kind: int, field: str
) -> None:
    """Types 1 to 3 spend a contract's funds, type 0 the key's own; addresses have a checksum."""
    with pytest.raises(ConfigError, match=f"^{field}: "):
        WalletSigner(KEY, funder, kind)


@given(raw=st.binary(min_size=20, max_size=20))
def test_checksums_are_those_of_the_reference(raw: bytes) -> None:
    """Capitals are put as the reference library puts them, from lower or upper case."""
    from eth_utils.address import to_checksum_address

    text = "0x" + raw.hex()
    assert checked_address(text, "x") == to_checksum_address(text)
    assert checked_address("0x" + raw.hex().upper(), "x") == to_checksum_address(text)


class _Elsewhere:
    """A wallet that signs as KEY does, and returns what it was told to make of it."""

    address = OWN.lower()

    def __init__(self, change: Any) -> None:
        self._change = change
        self.asked: list[TypedData] = []

    async def sign(self, data: TypedData) -> bytes:
        """Sign after a turn of the loop."""
        await asyncio.sleep(0)
        self.asked.append(data)
        return bytes(self._change(await KEY.sign(data)))


def test_a_wallet_elsewhere_can_sign() -> None:
    """A wallet of one's own, which counts v from 0, signs the same orders, also those of type 3."""
    remote = _Elsewhere(lambda raw: raw[:64] + bytes([raw[64] - 27]))
    wallet: Wallet = remote
    for kind in (0, 1, 2, 3):
        here = WalletSigner(KEY, FUNDS if kind else None, kind)
        there = WalletSigner(wallet, FUNDS if kind else None, kind)
        order = _order(here)
        assert there.signer == here.signer
        assert _signed(there, order, False) == _signed(here, order, False)
    assert remote.asked[0].document["primaryType"] == "Order"
    assert remote.asked[3].document["primaryType"] == "TypedDataSign"


@pytest.mark.parametrize("raw", [b"", bytes(64), bytes(66), bytes(64) + b"\x02"])
def test_what_is_no_signature_is_refused(raw: bytes) -> None:
    """A wallet that returns something else is an error, not an order."""
    with pytest.raises(ValueError, match="65 bytes"):
        checked_signature(raw)
    signer = WalletSigner(_Elsewhere(lambda _: raw))
    with pytest.raises(ValueError, match="65 bytes"):
        asyncio.run(signer.sign(_order(signer), neg_risk=False))
