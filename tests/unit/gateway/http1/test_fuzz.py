"""Whatever bytes come, in whatever pieces: nothing is raised, and nothing but 200 and 4xx (and 505) goes out."""

import re
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.gateway.fakes import (
    BIG_SCHEMA,
    JOB,
    SCHEMA,
    TASK,
    FakeDispatcher,
    Gateway,
    get,
    http,
    result,
    split_replies,
    update_of,
)

ALLOWED = {100, 200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 431, 503, 505}
CHUNKED = http(
    "/selection?job_id=small", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", drop=("Content-Length",), Transfer_Encoding="chunked"
)
VALID = [
    TASK,
    JOB,
    CHUNKED,
    get("/healthz"),
    get("/blob/small/" + "0" * 64),
    http("/task?job_id=small", b"{}"),
    http("/result?job_id=small&task_id=t&task_name=n", b'{"result": {"kind": "error"}}'),
    http("/result?job_id=number&task_id=t&task_name=n", b'{"result": {"kind": "number", "data": {"value": 1}}}'),
    http(
        "/result?job_id=executorch&task_id=t&task_name=n",
        b'{"result": {"data": {"w": {"data": [1, 2], "sizes": [2]}}}}',
    ),
    result(update_of(SCHEMA)),
    result(update_of(BIG_SCHEMA), "big"),
    result(update_of(SCHEMA), "new"),
    http("/task?job_id=small", b"{}", Expect="100-continue"),
]
ODD = [
    b"\r\n",
    b"\n",
    b"\x00",
    b":",
    b" ",
    b"HTTP/1.1",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
]

requests = st.sampled_from(VALID)
pieces = st.one_of(requests, st.binary(max_size=30), st.sampled_from(ODD))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid request with a piece cut out, doubled or replaced."""
    data = draw(requests)[:3000]
    start = draw(st.integers(0, len(data)))
    stop = draw(st.integers(start, min(len(data), start + 20)))
    return data[:start] + draw(pieces)[:200] + data[stop:]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    points = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:stop] for start, stop in pairwise(points)]


def play(data: list[bytes], hold: bool = False, answers: Sequence[int] = ()) -> bytes:
    """All that a connection replies to these reads; held answers come in the order given, then the rest."""
    dispatcher = FakeDispatcher(hold)
    gateway = Gateway(dispatcher)
    wire = gateway.connect()
    for piece, answer in zip(data, [*answers, *([-1] * len(data))], strict=False):
        if wire.closed:
            break
        wire.send(piece)
        if dispatcher.waiting and answer >= 0:
            dispatcher.answer_next(answer % len(dispatcher.waiting))
    while dispatcher.waiting:
        dispatcher.answer_next()
    gateway.pass_time(200)
    assert wire.closed
    wire.lose()
    assert dispatcher.room.reserved == 0
    return bytes(wire.written)


def statuses(written: bytes) -> list[int]:
    return [reply.status for reply in split_replies(re.sub(rb"HTTP/1.1 100 Continue\r\n\r\n", b"", written))]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(pieces, mutated()), max_size=6).map(b"".join), st.lists(st.integers(0, 10**6), max_size=8))
def test_any_bytes_get_200_or_4xx_and_raise_nothing(data: bytes, places: list[int]) -> None:
    assert set(statuses(play(cut(data, places)))) <= ALLOWED


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(requests, mutated()), max_size=6).map(b"".join),
    st.lists(st.integers(0, 10**6), max_size=8),
    st.lists(st.integers(-1, 5), max_size=8),
)
def test_answers_in_any_order_raise_nothing(data: bytes, places: list[int], answers: list[int]) -> None:
    assert set(statuses(play(cut(data, places), hold=True, answers=answers))) <= ALLOWED


@settings(max_examples=150, deadline=None)
@given(st.lists(requests, min_size=1, max_size=5), st.lists(st.integers(0, 10**6), max_size=8))
def test_how_the_bytes_are_cut_changes_nothing(asked: list[bytes], places: list[int]) -> None:
    data = b"".join(asked)
    expected = [statuses(play([request]))[0] for request in asked]
    assert statuses(play(cut(data, places))) == expected
    assert statuses(play(asked)) == expected
