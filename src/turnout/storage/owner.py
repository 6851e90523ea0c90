"""The token of a server's owner: in its data folder, where only the owner may read, and made at the first start.

Without it, a new server could only be open to all who reach its address, and so to every account of the machine.
"""

import re
import secrets
from pathlib import Path

from turnout.errors import TurnoutError
from turnout.storage import durable, private

FILE = "owner.token"
PREFIX = "turnout_"
TOKEN_BYTES = 32
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


def new_token() -> str:
    """A token that nobody has had: 256 random bits of the operating system."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def take(data: Path) -> str:
    """The owner's token of the server with this data folder, made if there is none. Raises TurnoutError."""
    path = data / FILE
    try:
        private.discard_unfinished(data, FILE)
        token = path.read_text("utf-8").strip()
    except FileNotFoundError:
        token = new_token()
        durable.write(path, f"{token}\n".encode())
    except (OSError, UnicodeDecodeError) as error:
        raise TurnoutError(f"{path} cannot be read: {error}") from error
    if not _TOKEN.fullmatch(token):
        raise TurnoutError(f"{path} does not hold a token; remove it, and the next start makes another")
    return token
