"""``turnout completion``: commands and options by the Tab key."""

from typing import Annotated, Literal

from cyclopts import Parameter

from turnout.cli.base import HERE, Json, answer, app, examples
from turnout.process.exits import EXIT_DONE


@app.command(
    group=HERE,
    help_epilogue=examples(
        "turnout completion bash | sudo tee /etc/bash_completion.d/turnout", "turnout completion fish | source"
    ),
)
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Whose script to print.")], *, json: Json = False
) -> int:
    """Print a script that completes commands and options; save it where the shell looks for such."""
    from turnout.cli.outputs import Completion

    script = app.generate_completion(prog_name="turnout", shell=shell)
    answer(Completion(shell, script), script.splitlines(), json)
    return EXIT_DONE
