"""`hps user` and `hps token`: accounts of the web app and API tokens, from the machine itself."""

import sys
from datetime import datetime

import typer
from rich.console import Console
from rich.table import Table

from hps_platform.cli.database import database

app = typer.Typer(no_args_is_help=True)
user = typer.Typer(no_args_is_help=True, help="Accounts of the web app.")
token = typer.Typer(no_args_is_help=True, help="API tokens: for programs, in the header `Authorization: Token …`.")
app.add_typer(user, name="user")
app.add_typer(token, name="token")

_USERNAME = typer.Argument(..., help="Name of the account.")
_STDIN = typer.Option(False, "--password-stdin", help="Read the password from standard input.")


def _chosen_password(from_stdin: bool) -> tuple[str, bool]:
    """The password and whether it was generated: from standard input, asked for on a terminal, else generated."""
    from hps_platform.access import passwords

    if from_stdin:
        return sys.stdin.readline().rstrip("\n"), False
    if sys.stdin.isatty():
        return typer.prompt("Password", hide_input=True, confirmation_prompt=True), False
    return passwords.generate(), True


def _say_password(username: str, password: str, generated: bool) -> None:
    if generated:
        typer.echo(f"password of {username}: {password}   (shown only now)")


def _when(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else "never"


@user.command("add")
def add_user(
    username: str = _USERNAME,
    admin: bool = typer.Option(False, "--admin", help="May change servers and thresholds."),
    password_stdin: bool = _STDIN,
) -> None:
    """Add an account; without a terminal or --password-stdin its password is generated and printed once."""
    from hps_platform import access

    password, generated = _chosen_password(password_stdin)
    with database() as db:
        added = access.add_user(db, username, password, is_admin=admin)
    typer.echo(f"added {'administrator' if admin else 'user'} {added.username}")
    _say_password(added.username, password, generated)


@user.command("list")
def list_users() -> None:
    """List the accounts."""
    from hps_platform import access

    with database() as db:
        found = access.list_users(db)
    table = Table("user", "role", "state", "last sign-in (UTC)", box=None)
    for account in found:
        role, state = "admin" if account.is_admin else "viewer", "active" if account.is_active else "disabled"
        table.add_row(account.username, role, state, _when(account.last_sign_in_at))
    Console().print(table)


@user.command("passwd")
def change_password(username: str = _USERNAME, password_stdin: bool = _STDIN) -> None:
    """Set a new password; this ends all sessions of the account."""
    from hps_platform import access

    password, generated = _chosen_password(password_stdin)
    with database() as db:
        access.set_password(db, username, password)
    typer.echo(f"password of {username} changed, its sessions ended")
    _say_password(username, password, generated)


@user.command("disable")
def disable_user(
    username: str = _USERNAME,
    undo: bool = typer.Option(False, "--undo", help="Let the account in again."),
) -> None:
    """Refuse an account with all its sessions and tokens."""
    from hps_platform import access

    with database() as db:
        access.set_active(db, username, active=undo)
    typer.echo(f"{username} is {'active again' if undo else 'disabled'}")


@token.command("create")
def create_token(
    username: str = _USERNAME,
    name: str = typer.Option("cli", "--name", help="What the token is for."),
    days: int | None = typer.Option(None, "--days", min=1, help="How long it is valid (default: until revoked)."),
) -> None:
    """Create an API token; standard output carries the token alone, and it is shown only now."""
    from hps_platform import access

    with database() as db:
        typer.echo(access.issue_token(db, username, name=name, days=days))


@token.command("list")
def list_tokens(username: str | None = typer.Option(None, "--user", help="Only that user's.")) -> None:
    """List the tokens, without their secrets."""
    from hps_platform import access

    with database() as db:
        found = access.list_tokens(db, username)
    table = Table("id", "user", "name", "created", "expires", "last used (UTC)", box=None)
    for item in found:
        expires = _when(item.expires_at) if item.expires_at else "—"
        table.add_row(str(item.id), item.username, item.name, _when(item.created_at), expires, _when(item.last_used_at))
    Console().print(table)


@token.command("revoke")
def revoke_token(token_id: int = typer.Argument(..., help="Id from `hps token list`.")) -> None:
    """Make a token worthless at once."""
    from hps_platform import access

    with database() as db:
        access.revoke_token(db, token_id)
    typer.echo(f"token {token_id} revoked")
