"""`hps migrate`: databases, schema, topics and first account, brought up to date."""

from typing import Annotated

import typer

from hps_platform import settings as settings_module

app = typer.Typer()


@app.command()
def migrate(
    schema_only: Annotated[
        bool, typer.Option("--schema-only", help="Only the platform's tables, in a database that exists.")
    ] = False,
) -> None:
    """Bring the schema up to date; makes databases, topics and the first account where they are missing."""
    settings = settings_module.load()
    if schema_only:
        from hps_platform.store.database import migrate as to_newest

        typer.echo(f"schema: revision {to_newest(settings.dsn())}")
        return
    from hps_platform.stack.control import set_up

    password = set_up(settings, progress=typer.echo)
    if password:
        typer.echo(f"sign in: {settings.admin_user} / {password}   (shown only now)")
