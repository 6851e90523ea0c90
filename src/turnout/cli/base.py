"""What all commands share: the app, the options that many have, and how an answer is printed."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from turnout import __version__
from turnout.errors import UsageError
from turnout.gateway.bounds import (
    RESULT_BYTES_MAX,
    RESULT_BYTES_MOST,
    WEIGHTS_MODEL_BYTES_MAX,
    WEIGHTS_MODEL_BYTES_MOST,
)
from turnout.process.exits import MEANINGS
from turnout.process.streams import tell
from turnout.text.printable import printable_json

if TYPE_CHECKING:
    from turnout.client.client import ControlClient

PORT = 8710
CONTROL_PORT = 8711
DATA = Path("turnout-data")
URL_VARIABLE = "TURNOUT_URL"
TOKEN_VARIABLE = "TURNOUT_TOKEN"

app = App(
    name="turnout",
    help="Train one model on a fleet of devices that come and go. Begin with: turnout demo",
    help_epilogue="Exit codes: " + ", ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) + ".",
    version=__version__,
    version_flags=("--version", "-V"),
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # main has a line for it
)

HERE = Group("On this machine, without a server", sort_key=1)
SERVERS = Group("A server", sort_key=2)
JOBS = Group("Jobs on a server", sort_key=3)

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON for programs, with every field.")]
Job = Annotated[str, Parameter(help="Its id, the beginning of its id, or a name that only one job has.")]
Folder = Annotated[Path, Parameter(help="A folder with job.toml and an initial model.")]
Devices = Annotated[int, Parameter(help="How many devices to simulate.")]
Seed = Annotated[int, Parameter(help="Chooses the devices' speeds, data and dropouts.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Remote:
    """Which server a command talks to."""

    server: Annotated[
        str,
        Parameter(
            name=("--server", "--url"),
            env_var=URL_VARIABLE,
            show_default=False,
            help="The API of the server, as turnout up prints it; unless given, that of your server on this machine.",
        ),
    ] = ""
    token: Annotated[
        str,
        Parameter(
            env_var=TOKEN_VARIABLE,
            show_default=False,
            help="What turnout token create has printed; unless given, that of your server on this machine.",
        ),
    ] = ""

    def client(self) -> "ControlClient":
        """Of this server. Raises UsageError when several run here and none is named."""
        from turnout.client import servers
        from turnout.client.client import ControlClient

        return ControlClient(*servers.resolve(self.server, self.token))


LOCAL = Remote()


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Sizes:
    """How much may cross between a server and one of its devices at once."""

    result_bytes_max: Annotated[int, Parameter(help="Largest result that a device may send, in bytes.")] = (
        RESULT_BYTES_MAX
    )
    weights_model_bytes_max: Annotated[
        int, Parameter(help="Largest model that is sent as JSON, in bytes; each gateway keeps five times as much.")
    ] = WEIGHTS_MODEL_BYTES_MAX

    def check(self) -> None:
        """Raises UsageError for a bound that no server can have."""
        _check_size("--result-bytes-max", self.result_bytes_max, RESULT_BYTES_MOST)
        _check_size("--weights-model-bytes-max", self.weights_model_bytes_max, WEIGHTS_MODEL_BYTES_MOST)


def _check_size(option: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise UsageError(f"{option} must be from 1 to {most}; {value} was given")


SIZES = Sizes()


def examples(*lines: str) -> str:
    """The end of a command's help. A test parses each line, up to a pipe."""
    return "\n".join(("Example:" if len(lines) == 1 else "Examples:", "", *(f"  {line}" for line in lines), ""))


def at_least_one(option: str, value: int) -> int:
    """The value. Raises UsageError when it is below one."""
    if value < 1:
        raise UsageError(f"{option} {value} is too few; give 1 or more")
    return value


def answer(value: object, lines: list[str], as_json: bool) -> None:
    """Print what a command has to say: the lines for people, or the value for programs."""
    if as_json:
        print_json(value)
    else:
        for line in lines:
            tell(line)


def print_json(value: object) -> None:
    """One line of JSON; fields that hold their default are there too, so that a program may rely on them."""
    import msgspec

    from turnout.cli.outputs import whole

    tell(printable_json(msgspec.json.encode(whole(value))))
