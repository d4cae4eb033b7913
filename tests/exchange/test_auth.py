"""Credentials and signatures of private calls."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import Credentials, LocalSigner
from polyframe.exchange.polymarket.signing import SIGNED_FIELDS
from tests.exchange.kit import ADDRESS, API_KEY, CREDENTIALS, PASSPHRASE, SECRET

VECTOR_SECRET = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize(
    ("timestamp", "method", "path", "body", "signature"),
    [
        (1773307205, "GET", "/data/orders", b"", "TOaZe10Go8Kck5oTn9aF5lYln5CkEHzTy_d1vOIc_Yw="),
        (
            1773307205,
            "DELETE",
            "/order",
            b'{"orderID":"0xabc"}',
            "ONnhRkyoxv3llhpvabge6yq9SIwWIK4W6fj83YhQAOY=",
        ),
        (
            1000000,
            "test-sign",
            "/orders",
            b'{"hash": "0x123"}',
            "ZwAdJKvoYRlEKDkNMwd5BuwNNtg93kNaR_oU2HrfVvc=",
        ),
    ],
)
def test_the_official_signature_vectors(
    timestamp: int, method: str, path: str, body: bytes, signature: str
) -> None:
    """L2 signatures equal the official clients' (PROTOCOL §3.7)."""
    credentials = Credentials("key", VECTOR_SECRET, "phrase", "0xabc")
    assert credentials.headers(timestamp, method, path, body) == {
        "POLY_ADDRESS": "0xabc",
        "POLY_API_KEY": "key",
        "POLY_PASSPHRASE": "phrase",
        "POLY_SIGNATURE": signature,
        "POLY_TIMESTAMP": str(timestamp),
    }


def test_a_secret_without_padding_works() -> None:
    """The padding of the secret may be left out (PROTOCOL §3.2)."""
    bare = Credentials("key", VECTOR_SECRET.rstrip("="), "phrase", "0xabc")
    full = Credentials("key", VECTOR_SECRET, "phrase", "0xabc")
    assert bare.headers(1, "GET", "/x") == full.headers(1, "GET", "/x")


def test_secrets_do_not_show() -> None:
    """Neither repr nor str of credentials show the secret or the passphrase."""
    shown = f"{CREDENTIALS!r} {CREDENTIALS}"
    assert SECRET not in shown
    assert PASSPHRASE not in shown
    assert API_KEY in shown


@pytest.mark.parametrize("field", ["api_key", "secret", "passphrase", "address"])
@pytest.mark.parametrize("value", ["", " blank ", "line\nend", "§§§ not base64 §§§"])
def test_malformed_credentials_are_refused_without_showing_them(field: str, value: str) -> None:
    """A malformed value is refused by the name of its field; the value itself is not shown."""
    values = {"api_key": "k", "secret": SECRET, "passphrase": "p", "address": "0x1"} | {
        field: value
    }
    with pytest.raises(ConfigError, match=f"^{field}: ") as caught:
        Credentials(**values)
    assert not value or value not in str(caught.value)


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The four variables with the chosen prefix become credentials."""
    for name, value in (
        ("API_KEY", API_KEY),
        ("SECRET", SECRET),
        ("PASSPHRASE", PASSPHRASE),
        ("ADDRESS", ADDRESS),
    ):
        monkeypatch.setenv(f"MINE_{name}", value)
    assert Credentials.from_env("MINE_") == CREDENTIALS


def test_missing_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists exactly the variables that are missing or empty."""
    monkeypatch.setenv("X_API_KEY", "k")
    monkeypatch.setenv("X_SECRET", "  ")
    monkeypatch.setenv("X_PASSPHRASE", "p")
    monkeypatch.delenv("X_ADDRESS", raising=False)
    with pytest.raises(ConfigError) as caught:
        Credentials.from_env("X_")
    assert "X_SECRET, X_ADDRESS" in str(caught.value)
    assert "X_API_KEY" not in str(caught.value)


def _fields() -> dict[str, Any]:
    return {
        "salt": 479249096354,
        "maker": ADDRESS,
        "signer": ADDRESS,
        "tokenId": "1234",
        "makerAmount": "3842500",
        "takerAmount": "7250000",
        "side": "BUY",
        "signatureType": 0,
        "timestamp": "1773307205123",
        "metadata": "0x" + "0" * 64,
        "builder": "0x" + "0" * 64,
    }


def test_the_local_order_id_is_the_agreed_hash() -> None:
    """The stand-in's id and signature follow the rule that the local venue checks."""
    fields = _fields()
    text = json.dumps(fields, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(b"polyframe-local-order-v1\0" + text.encode()).hexdigest()
    signer = LocalSigner(ADDRESS)
    assert signer.order_id(fields, neg_risk=False) == "0x" + digest
    assert asyncio.run(signer.sign(fields, neg_risk=False)) == "0x6c6f63616c" + digest


def test_the_local_order_id_depends_on_every_signed_field_and_no_other() -> None:
    """Changing any signed field changes the id; the expiration, which is not signed, does not."""
    signer, fields = LocalSigner(ADDRESS), _fields()

    def order_id(**changes: str) -> str:
        return signer.order_id(fields | changes, neg_risk=False)

    first = order_id()
    assert order_id(expiration="5") == first
    others = [order_id(**{name: f"{fields[name]}9"}) for name in SIGNED_FIELDS]
    assert len({first, *others}) == len(SIGNED_FIELDS) + 1
