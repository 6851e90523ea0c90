"""Links to the dashboard, and the sessions that they begin."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from turnout.client.view import LinkOpened, NewLink, NewSession
from turnout.control.access import Access
from turnout.control.operations import Accepted, Operation, Returned, body_of, json_response


class SessionRoutes:
    """How a browser comes to stand for a token."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST", "/api/links", self._link, "Make a link to the dashboard, which works once",
                Returned("Its code; the session may do what this request may.", NewLink, HTTPStatus.CREATED),
            ),
            Operation(
                "POST", "/api/session", self._begin, "Begin a session with the code of a link, or with a token",
                Returned("Half of the session; the other is set as a cookie.", NewSession, HTTPStatus.CREATED), None,
                Accepted("The code; nothing where a token is sent.", type=LinkOpened),
                problems=frozenset({
                    HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                }),
            ),
            Operation(
                "DELETE", "/api/session", self._end, "End the session that the request comes with, at once",
                Returned("It is over, and its cookie taken back.", status=HTTPStatus.NO_CONTENT), None,
                problems=frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}),
            ),
        ]  # fmt: skip

    async def _link(self, request: Request) -> Response:
        return json_response(self._access.link(request), HTTPStatus.CREATED)

    async def _end(self, request: Request) -> Response:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Set-Cookie": self._access.end(request)})

    async def _begin(self, request: Request) -> Response:
        opened = await body_of(request, LinkOpened, '{"code": "..."}, or {} with a token')
        session, cookie = self._access.begin(request, opened.code)
        answer = json_response(session, HTTPStatus.CREATED)
        answer.headers["Set-Cookie"] = cookie
        return answer
