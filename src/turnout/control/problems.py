"""What went wrong with a request to the API, as RFC 9457 problem details."""

from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


class Problem(Exception):
    """Ends a request: ``detail`` says in one line what was wrong and what to do."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem_response(status: HTTPStatus, detail: str) -> Response:
    body = {"title": status.phrase, "status": status.value, "detail": detail}
    return Response(msgspec.json.encode(body), status.value, media_type="application/problem+json")


async def answer_problem(_: Request, error: Exception) -> Response:
    """Starlette's handler of a Problem, and of its own errors: no such route, or not with this method."""
    if isinstance(error, HTTPException):
        return problem_response(HTTPStatus(error.status_code), "no such route or method; see GET /api/jobs")
    assert isinstance(error, Problem)
    return problem_response(error.status, error.detail)
