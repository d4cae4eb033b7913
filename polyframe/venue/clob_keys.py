"""API keys, heartbeats and small facts about an account over REST (PROTOCOL §2.6)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyframe.venue.account import Credentials
from polyframe.venue.accounts import Accounts, KeyRefused, Login
from polyframe.venue.blotter import Blotter
from polyframe.venue.heartbeats import Heartbeats
from polyframe.venue.hub import Hub
from polyframe.venue.intents import INVALID_PAYLOAD, ORDER_ID, Refusal
from polyframe.venue.rest import Handler, SignedHandler, answering, error, read_json, route, signed


class KeysApi:
    """Calls that are signed by a wallet (L1), and those about the account itself.

    Args:
        accounts: Who has which key.
        hub: Whose connections end with a key.
        heartbeats: The dead man's switch.
        blotter: Which orders there are.
    """

    def __init__(
        self, accounts: Accounts, hub: Hub, heartbeats: Heartbeats, blotter: Blotter
    ) -> None:
        self._accounts = accounts
        self._hub = hub
        self._heartbeats = heartbeats
        self._blotter = blotter

    def routes(self) -> list[Route]:
        """Return the routes."""
        wallets: list[tuple[str, str, Handler]] = [
            ("POST", "/auth/api-key", self._create),
            ("GET", "/auth/derive-api-key", self._derive),
        ]
        keys: list[tuple[str, str, SignedHandler]] = [
            ("GET", "/auth/api-keys", self._keys),
            ("DELETE", "/auth/api-key", self._delete),
            ("GET", "/auth/ban-status/closed-only", self._closed_only),
            ("POST", "/v1/heartbeats", self._heartbeat),
            ("POST", "/heartbeats", self._old_heartbeat),
            ("GET", "/order-scoring", self._scoring),
            ("POST", "/orders-scoring", self._several_scoring),
            ("GET", "/notifications", self._notifications),
            ("DELETE", "/notifications", self._drop_notifications),
        ]
        return [
            *(route(method, path, answering(handler)) for method, path, handler in wallets),
            *(
                route(method, path, signed(self._accounts, handler))
                for method, path, handler in keys
            ),
        ]

    # ------------------------------------------------------------------ keys

    async def _create(self, request: Request) -> Response:
        address, nonce = self._attested(request)
        try:
            return _shown(self._accounts.create_key(address, nonce))
        except KeyRefused as refused:
            return error(400, str(refused))

    async def _derive(self, request: Request) -> Response:
        address, nonce = self._attested(request)
        try:
            return _shown(self._accounts.derive_key(address, nonce))
        except KeyRefused as refused:
            return error(400, str(refused))

    def _attested(self, request: Request) -> tuple[str, int]:
        found = self._accounts.attested(request.headers)
        if found is None:
            raise Refusal(401, "Invalid L1 Request headers")
        return found

    async def _keys(self, _: Request, login: Login) -> Response:
        return JSONResponse({"apiKeys": self._accounts.keys_of(login.account)})

    async def _delete(self, _: Request, login: Login) -> Response:
        self._accounts.delete_key(login)
        self._hub.log_out(login.api_key)
        return JSONResponse("OK")

    # ------------------------------------------------------------------ the account

    async def _closed_only(self, _: Request, _login: Login) -> Response:
        return JSONResponse({"closed_only": False})

    async def _heartbeat(self, request: Request, login: Login) -> Response:
        body = await read_json(request)
        given = body.get("heartbeat_id") if isinstance(body, dict) else None
        good, following = self._heartbeats.beat(login, given if isinstance(given, str) else "")
        if good:
            return JSONResponse({"heartbeat_id": following})
        return JSONResponse(
            {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": following}, status_code=400
        )

    async def _old_heartbeat(self, _: Request, login: Login) -> Response:
        # The old form has no chain of ids: whatever is expected counts as sent.
        self._heartbeats.beat(login, self._heartbeats.beat(login, "")[1])
        return JSONResponse({"status": "ok"})

    async def _scoring(self, request: Request, login: Login) -> Response:
        order_id = request.query_params.get("order_id", "")
        return JSONResponse({"scoring": self._is_scoring(login, order_id)})

    async def _several_scoring(self, request: Request, login: Login) -> Response:
        ids = await read_json(request)
        if not isinstance(ids, list):
            raise Refusal(400, INVALID_PAYLOAD)
        if not all(isinstance(each, str) and ORDER_ID.fullmatch(each) for each in ids):
            raise Refusal(400, "Invalid orderID")
        return JSONResponse({each: self._is_scoring(login, each) for each in ids})

    def _is_scoring(self, login: Login, order_id: str) -> bool:
        """Return whether an order earns as a maker does: it rests."""
        order = self._blotter.order(login.account, order_id)
        return order is not None and order.is_open

    async def _notifications(self, _: Request, _login: Login) -> Response:
        return JSONResponse([])

    async def _drop_notifications(self, _: Request, _login: Login) -> Response:
        return JSONResponse("OK")


def _shown(key: Credentials) -> Response:
    return JSONResponse({"apiKey": key.api_key, "secret": key.secret, "passphrase": key.passphrase})
