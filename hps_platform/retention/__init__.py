"""Retention: closed days are archived, and what is past its time leaves the tables, never before it is safe.

`archive_closed` and `drop_expired` are what runs each night, `verify` looks at archived files in turn, `restore` brings
a day back. How long is `policy`; how a day becomes a file and a file a day is `hps_platform.store.archive`.
"""

from hps_platform.retention.nightly import (
    Place,
    Report,
    alone,
    archive_closed,
    archive_day,
    drop_expired,
    overdue,
    restore,
    verify,
)
from hps_platform.retention.policy import Policy, policies

__all__ = [
    "Place",
    "Policy",
    "Report",
    "alone",
    "archive_closed",
    "archive_day",
    "drop_expired",
    "overdue",
    "policies",
    "restore",
    "verify",
]
