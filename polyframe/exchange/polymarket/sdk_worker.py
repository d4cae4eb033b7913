"""Splits, merges and redeems with the venue's own package, for a program that cannot have it inside.

A process of its own, in whatever environment has the package `polymarket-client`; it imports nothing of
ours. Its first line of input says who and where, each further line is a request, each line of output
the answer to one::

    {"key": "0x…", "wallet": "0x…", "relayer_key": "…", "hosts": {"clob": "http://…", …}}
    {"id": 1, "do": "merge", "condition": "0x…", "amount": 5000000}
    {"id": 1, "state": "submitted", "transaction": "…", "text": ""}

The answer to the first line has the id 0. The end of the input ends the process.
"""

# ruff: noqa: SLF001 - other hosts, and a look at one transaction, are not in the public part of the package

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from typing import Any

import polymarket
from polymarket import environments, errors
from polymarket._internal.actions.relayer import calls, poll
from polymarket.transactions import EoaTransactionHandle, GaslessTransactionHandle

_HOSTS = {
    "clob": "clob_url",
    "gamma": "gamma_url",
    "data": "data_url",
    "relayer": "relayer_url",
    "rpc": "rpc_url",
}
_REFUSED = (errors.UserInputError, errors.RequestRejectedError, errors.InsufficientAllowanceError)
"""Raised before anything left, or by whoever refused it: nothing will come of it."""

_MINED = ("STATE_MINED", "STATE_CONFIRMED")
_NOT_RESOLVED = "a market can be redeemed once it is resolved, and the venue lists it as closed"

_ON_CHAIN = "chain:"
"""Before the hash of a transaction that the key itself has sent: it has no id at the relayer."""


async def _opened(start: dict[str, Any]) -> Any:
    hosts = start.get("hosts")
    place = environments.PRODUCTION
    if hosts:
        config = dataclasses.replace(
            place._config, **{_HOSTS[name]: url for name, url in hosts.items()}
        )
        place = environments._create_environment(name="other", config=config)
    return await polymarket.AsyncSecureClient.create(
        private_key=start["key"],
        wallet=start.get("wallet") or None,
        environment=place,
        api_key=polymarket.RelayerApiKey(
            key=start["relayer_key"], address=start["relayer_address"]
        ),
    )


def _receipt(
    state: str, transaction: str = "", text: str = "", *, mined: bool = False
) -> dict[str, Any]:
    return {"state": state, "transaction": transaction, "text": text, "mined": mined}


async def _convert(client: Any, request: dict[str, Any]) -> dict[str, Any]:
    condition, amount = request["condition"], request.get("amount")
    try:
        if request["do"] == "redeem":
            handle = await client.redeem_positions(condition_id=condition)
        elif request["do"] == "merge":
            handle = await client.merge_positions(condition_id=condition, amount=amount)
        else:
            handle = await client.split_position(condition_id=condition, amount=amount)
    except _REFUSED as error:
        status = getattr(error, "status", None)
        if isinstance(status, int) and status >= 500:
            raise
        # The package looks for the market among the closed ones only, and says that there is none.
        is_open = request["do"] == "redeem" and isinstance(error, errors.UserInputError)
        return _receipt("failed", text=f"{error}; {_NOT_RESOLVED}" if is_open else str(error))
    return _receipt("submitted", handle.transaction_id or _ON_CHAIN + handle.transaction_hash)


async def _look(client: Any, transaction: str) -> dict[str, Any]:
    """Ask once for a transaction."""
    if transaction.startswith(_ON_CHAIN):
        handle: Any = EoaTransactionHandle(
            transaction.removeprefix(_ON_CHAIN), client._ctx.rpc, 1, 0.0
        )
    else:
        handle = GaslessTransactionHandle(transaction, None, client._ctx.relayer, 1, 0.0)
    try:
        await handle.wait()
    except errors.TimeoutError:
        mined = False
        if isinstance(handle, GaslessTransactionHandle):
            found = await poll.fetch_gasless_transaction(
                client._ctx.relayer, transaction_id=transaction
            )
            mined = str(found.state) in _MINED
        return _receipt("submitted", transaction, mined=mined)
    except errors.TransactionFailedError as error:
        return _receipt("failed", transaction, str(error))
    except errors.RequestRejectedError as error:
        if getattr(error, "status", None) == 404:
            return _receipt("unknown", transaction, str(error))
        raise
    return _receipt("confirmed", transaction)


async def _shares(client: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return what is on chain, in base units."""
    config = client._ctx.environment_config
    holder = config.neg_risk_adapter if request["neg_risk"] else config.conditional_tokens
    call = calls.erc1155_balance_of_batch_call(
        token_address=holder,
        owners=[client.wallet] * len(request["tokens"]),
        token_ids=request["tokens"],
    )
    data = await client._ctx.rpc.eth_call(to=str(call.to), data=call.data)
    return {"shares": list(calls.decode_erc1155_balance_of_batch_result(data))}


async def _answer(client: Any, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if request["do"] == "look":
            answer = await _look(client, request["transaction"])
        elif request["do"] == "shares":
            answer = await _shares(client, request)
        else:
            answer = await _convert(client, request)
    except Exception as error:  # noqa: BLE001 - whatever the package raises is the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    return {"id": request["id"], **answer}


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Answer until the input ends."""
    start = json.loads(await asyncio.to_thread(sys.stdin.readline))
    try:
        client = await _opened(start)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        _say({"id": 0, "error": f"{type(error).__name__}: {error}"})
        return
    async with client:
        _say({"id": 0, "wallet": str(client.wallet), "kind": str(client.wallet_type)})
        while line := await asyncio.to_thread(sys.stdin.readline):
            # One after the other: a wallet carries out one action at a time.
            _say(await _answer(client, json.loads(line)))


if __name__ == "__main__":
    asyncio.run(main())
