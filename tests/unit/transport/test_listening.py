"""A socket that something removes is there again, and a folder that others could enter is never used."""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from turnout.errors import ServerError
from turnout.transport.listening import CannotListen, Listening, bind

pytestmark = pytest.mark.anyio


@pytest.fixture
def place() -> Iterator[Path]:
    """A private folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="t-") as made:
        yield Path(made)


@pytest.fixture
async def listening(place: Path) -> AsyncIterator[Listening]:
    """At ``run/8710/feed``; answers with "hello"."""

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    made = Listening(str(place / "run" / "8710" / "feed"), lambda sock: asyncio.start_unix_server(hello, sock=sock))
    await made.start()
    yield made
    made.close()


async def answer(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    said = await reader.read()
    writer.close()
    return said


async def test_the_folder_of_a_socket_is_made_for_its_owner_alone(place: Path, listening: Listening) -> None:
    assert (place / "run").stat().st_mode & 0o777 == 0o700
    assert (place / "run" / "8710").stat().st_mode & 0o777 == 0o700
    assert (place / "run" / "8710" / "feed").stat().st_mode & 0o077 == 0
    assert listening.is_there()


@pytest.mark.parametrize("removed", ["run/8710/feed", "run/8710", "run"])
async def test_what_is_removed_is_made_again(place: Path, listening: Listening, removed: str) -> None:
    gone = place / removed
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()
    assert not listening.is_there()
    await listening.look()
    assert listening.is_there()
    assert await answer(place / "run" / "8710" / "feed") == b"hello"


async def test_a_socket_that_is_kept_comes_back_by_itself(place: Path, listening: Listening) -> None:
    keeping = asyncio.create_task(listening.keep(look_s=0))
    shutil.rmtree(place / "run")
    async with asyncio.timeout(20):
        while not listening.is_there():  # noqa: ASYNC110 - the path is all that there is to look at
            await asyncio.sleep(0)
    keeping.cancel()
    assert await answer(place / "run" / "8710" / "feed") == b"hello"


async def test_a_folder_that_cannot_be_made_again_is_told_once_with_the_way_out(
    place: Path, listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(place / "run")
    (place / "run").touch()
    with caplog.at_level(logging.WARNING):
        await listening.look()
        await listening.look()
    (told,) = caplog.messages
    assert str(place / "run") in told
    assert "XDG_RUNTIME_DIR" in told
    (place / "run").unlink()
    await listening.look()
    assert listening.is_there()


async def test_a_folder_that_others_could_have_put_there_is_not_used(place: Path, listening: Listening) -> None:
    shutil.rmtree(place / "run")
    (place / "run").mkdir()
    (place / "run").chmod(0o777)
    await listening.look()
    assert not listening.is_there()
    assert list((place / "run").iterdir()) == []


async def test_the_socket_of_another_process_is_left_alone_unless_it_is_taken_over(place: Path) -> None:
    path = place / "feed"
    with bind(str(path)) as other:
        other.listen()
        with pytest.raises(ServerError, match="another process listens there"):
            bind(str(path))
        bind(str(path), take_over=True).close()


async def test_one_that_lost_its_path_to_another_process_does_not_take_it_back(
    place: Path, listening: Listening
) -> None:
    path = place / "run" / "8710" / "feed"
    with bind(str(path), take_over=True) as newer:
        newer.listen()
        await listening.look()
        assert not listening.is_there()
        listening.close()
        assert path.exists()


async def test_a_path_that_is_too_long_is_one_line(place: Path) -> None:
    with pytest.raises(CannotListen, match=r"cannot listen at .*: .*XDG_RUNTIME_DIR"):
        bind(str(place / ("x" * 200)))


async def test_a_file_in_the_place_of_a_socket_is_left_alone(place: Path) -> None:
    (place / "feed").write_text("mine")
    with pytest.raises(ServerError, match="is not a socket"):
        bind(str(place / "feed"), take_over=True)
    assert (place / "feed").read_text() == "mine"
