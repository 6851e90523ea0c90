"""Tokens: create, list, revoke."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from turnout.client.view import NewToken, Scope, TokenView
from turnout.control.operations import Accepted, Operation, Parameter, Returned, body_of, json_response
from turnout.control.tokens import Tokens

TOKEN_ID = Parameter("token_id", "As `GET /api/tokens` lists it.", {"type": "string"}, "path")


class TokenRoutes:
    """Who may use the API."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def operations(self) -> list[Operation]:
        conflict = frozenset({HTTPStatus.CONFLICT})
        return [
            Operation(
                "GET", "/api/tokens", self._list, "All tokens, without the tokens themselves",
                Returned("Oldest first.", list[TokenView]), Scope.ADMIN,
            ),
            Operation(
                "POST", "/api/tokens", self._create, "Create a token",
                Returned("The token: it is shown this once.", TokenView, HTTPStatus.CREATED), Scope.ADMIN,
                Accepted("What it shall be.", type=NewToken), problems=conflict | {HTTPStatus.REQUEST_ENTITY_TOO_LARGE},
            ),
            Operation(
                "DELETE", "/api/tokens/{token_id}", self._revoke, "Revoke a token, at once",
                Returned("It is gone.", status=HTTPStatus.NO_CONTENT), Scope.ADMIN,
                parameters=(TOKEN_ID,), problems=conflict,
            ),
        ]  # fmt: skip

    async def _list(self, _: Request) -> Response:
        return json_response(self._tokens.all())

    async def _create(self, request: Request) -> Response:
        example = '{"name": "who uses it", "scope": "view"}, or operate, submit or admin'
        wanted = await body_of(request, NewToken, example)
        return json_response(self._tokens.create(wanted), HTTPStatus.CREATED)

    async def _revoke(self, request: Request) -> Response:
        self._tokens.revoke(request.path_params["token_id"])
        return Response(status_code=HTTPStatus.NO_CONTENT)
