"""The few kinds of error that cross a module's border; each says whose mistake it is.

An expected outcome (no task, a stale result) is a value, not one of these. Our own mistakes are asserts.
"""


class TurnoutError(Exception):
    """Anything turnout raises on purpose; its text is one line for a person, naming the thing and the way out."""


class DeviceError(TurnoutError):
    """A device sent something we cannot take; becomes a refusal. ``reason`` is its metric label."""

    reason = "bad_request"


class JobFolderError(TurnoutError):
    """A job folder cannot be run as it is; names the file, the key, the value and what is allowed."""


class UsageError(TurnoutError):
    """An argument of a command is wrong; says which, and what is allowed."""


class ServerError(TurnoutError):
    """The other side of a connection did not do what the protocol promises."""


class UnreachableError(ServerError):
    """Nobody answers there, or no longer: worth trying again later."""


class NotAllowedError(ServerError):
    """The server wants a token, or another one."""


class NotFoundError(ServerError):
    """The server has no such thing."""
