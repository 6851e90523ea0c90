"""``turnout token``: who may use the API of a server."""

import time
from typing import Annotated, Literal

from cyclopts import App, Parameter

from turnout.cli.base import LOCAL, SERVERS, Json, Remote, answer, app, examples
from turnout.errors import NotFoundError, UsageError
from turnout.process.exits import EXIT_DONE
from turnout.process.streams import say

token = App(
    name="token",
    help="Create, list and revoke tokens, for people and programs that are not the owner of the server.",
    help_epilogue=examples("turnout token list"),
    group=SERVERS,
)
app.command(token)


@token.command(
    help_epilogue=examples(
        "turnout token create prometheus",
        "turnout token create ci --scope submit --json | jq -r .token",
    )
)
def create(
    name: Annotated[str, Parameter(help="Who or what will use it; turnout token list shows it.")],
    *,
    scope: Annotated[
        Literal["view", "operate", "submit", "admin"],
        Parameter(
            help="view: look; operate: also pause, cancel and delete jobs; submit: also submit jobs, whose code can do "
            "all that the server's account can; admin: also make tokens and backups."
        ),
    ] = "view",
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Create a token and print it, this once: the server keeps only its digest."""
    from turnout.client.view import Scope

    made = remote.client().create_token(name, scope)
    answer(made, [made.token], json)
    if made.scope in (Scope.SUBMIT, Scope.ADMIN):
        say(f"{made.scope}: who has it can run code as the account of the server")
    say(f"this is the only time it is shown; revoke it with: turnout token revoke {made.token_id}")
    return EXIT_DONE


@token.command(name="list", help_epilogue=examples("turnout token list", "turnout token list --json | jq '.[].name'"))
def list_tokens(*, remote: Remote = LOCAL, json: Json = False) -> int:
    """List the tokens, oldest first: their ids, scopes and names, not the tokens themselves."""
    from turnout.client.listing import columns
    from turnout.text.ages import ago

    found = remote.client().tokens()
    rows = [(each.token_id, each.scope.value, f"{ago(time.time() - each.created_at)} ago", each.name) for each in found]
    nobody = "there are no tokens but the owner's, which commands of the server's account find by themselves"
    answer(found, columns(("TOKEN", "SCOPE", "CREATED", "NAME"), rows) if found else [nobody], json)
    return EXIT_DONE


@token.command(help_epilogue=examples("turnout token revoke 1f2e3d4c"))
def revoke(
    token_id: Annotated[str, Parameter(help="As turnout token list prints it.")],
    *,
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Make a token useless at once."""
    from turnout.cli.outputs import Revoked

    try:
        remote.client().revoke_token(token_id)
    except NotFoundError:
        raise UsageError(f'no token "{token_id}"; turnout token list has their ids in its first column') from None
    answer(Revoked(token_id), [f"token {token_id} is revoked"], json)
    return EXIT_DONE
