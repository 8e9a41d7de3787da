"""`hps keys`: the keys that stored secrets are encrypted under (`FIELD_ENCRYPTION_KEY`).

To change the key: put a new one in front of the old (`hps keys new` on an embedded stack), restart the services so that
all of them know both, `hps keys rotate`, and take the old one out at leisure.
"""

import typer

from hps_platform.cli.database import database, secret_box
from hps_platform.errors import SettingsError

app = typer.Typer(no_args_is_help=True)


@app.command("new")
def new() -> None:
    """Put a new key in front of those of the embedded stack; nothing is encrypted under it before `rotate`."""
    from cryptography.fernet import Fernet
    from pydantic import SecretStr

    from hps_platform import settings as configuration
    from hps_platform.settings import variable
    from hps_platform.stack.record import Record
    from hps_platform.store.secrets import SecretBox

    settings = configuration.load()
    record = Record.load(settings.data_dir)
    known = settings.field_encryption_key.get_secret_value()
    if record is None or record.settings.get("field_encryption_key") != known:
        raise SettingsError(
            f"{variable('field_encryption_key')} is set by you: put a new key in front of it, before a comma; make one "
            "with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
        )
    keys = f"{Fernet.generate_key().decode()},{known}"
    number = SecretBox(SecretStr(keys)).size
    record.settings["field_encryption_key"] = keys
    record.save()
    typer.echo(f"{number} keys are known; restart the stack (`hps down`, `hps up`), then run `hps keys rotate`")


@app.command("rotate")
def rotate() -> None:
    """Encrypt every stored secret under the first of the keys; may be repeated, collectors go on meanwhile."""
    from hps_platform.store import logins

    box = secret_box()
    with database("hps keys") as db, db.connection() as conn:
        changed, total = logins.rotate(conn, box)
    typer.echo(f"{changed} of {total} secrets encrypted anew, all are under the first key now")
    if box.size > 1:
        typer.echo(f"the other {box.size - 1} of FIELD_ENCRYPTION_KEY can go, once backups made before aren't needed")
