"""The DDL that families give, against a list kept on purpose: changing a table needs a migration."""

from pathlib import Path

import pytest

from hps_platform.metrics import FAMILIES
from hps_platform.store.database import address, migrations
from hps_platform.store.schema import family_ddl

GOLDEN = Path(__file__).with_name("golden") / "families.sql"


def test_generated_ddl_is_as_recorded() -> None:
    generated = "\n\n".join(statement for family in FAMILIES.values() for statement in family_ddl(family)) + "\n"
    assert generated == GOLDEN.read_text(), "a family's tables have changed: write a migration, then renew this file"


def test_migrations_are_one_chain() -> None:
    revisions = migrations()
    assert [revision for revision, _ in revisions] == [f"{number:04d}" for number in range(1, len(revisions) + 1)]
    assert [before for _, before in revisions] == [None, *(revision for revision, _ in revisions[:-1])]


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://hps:secret@db.example:5433/hps", "db.example:5433/hps"),
        ("host=db password=secret dbname=x", "db:5432/x"),
    ],
)
def test_an_address_shows_no_password(dsn: str, shown: str) -> None:
    assert address(dsn) == shown
