"""What went wrong with a request to the API, as RFC 9457 problem details."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from turnout.client.view import ProblemDetails

PROBLEM_JSON = "application/problem+json"


class Problem(Exception):
    """Ends a request: ``detail`` says in one line what was wrong and what to do."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def problem_response(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode(ProblemDetails(status.phrase, status.value, detail))
    return Response(body, status.value, headers, media_type=PROBLEM_JSON)


async def answer_problem(_: Request, error: Exception) -> Response:
    """Starlette's handler of a Problem, and of its own errors: no such route, or not with this method."""
    if isinstance(error, HTTPException):
        return problem_response(HTTPStatus(error.status_code), "no such route or method; see /api/docs")
    assert isinstance(error, Problem)
    return problem_response(error.status, error.detail, error.headers)
