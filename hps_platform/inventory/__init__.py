"""Lists of servers in files: read in the formats people have, compared with the registry, applied, written.

`documents` reads and writes our own YAML and CSV, `foreign` reads OpenSSH configurations and Ansible inventories,
`changes` compares and applies. `discovery` proposes hosts of a network. Rows are `store`'s business.
"""

from hps_platform.inventory.changes import Change, apply, known_host_keys
from hps_platform.inventory.discovery import Found, discover
from hps_platform.inventory.documents import write
from hps_platform.inventory.entries import Entry, Reading
from hps_platform.inventory.reading import FORMATS, read

__all__ = [
    "FORMATS",
    "Change",
    "Entry",
    "Found",
    "Reading",
    "apply",
    "discover",
    "known_host_keys",
    "read",
    "write",
]
