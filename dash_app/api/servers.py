"""The registry of servers: list, add, change, remove, discover, try a connection, health."""

from datetime import date
from typing import Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from dash_app.api.problems import Problem
from dash_app.api.shapes import PROBLEMS, DataDep, Instant, Listed, PagingDep, ServerId, paged
from hps_platform.store.server_fields import SECRETS
from hps_platform.store.servers import Server

router = APIRouter(
    prefix="/api/servers",
    tags=["Servers"],
    responses={
        **PROBLEMS,
        403: {"model": Problem, "description": "Only administrators change servers"},
        409: {"model": Problem, "description": "The hostname is taken"},
    },
)

Id = Path(ge=1, le=2**63 - 1, description="Id of the server")

_WRITE_ONLY = "Write-only; null or empty removes it, left out it stays"
_READ_ONLY = frozenset(
    {
        *(
            "id",
            "has_password",
            "has_private_key",
            "has_certificate",
            "has_jump_credentials",
            "os_version",
            "status",
            "status_message",
        ),
        *("last_seen_at", "created_at", "updated_at"),
    }
)


class ServerFields(BaseModel):
    """What can be set. Fields of an answer that can't be are passed over, so that an answer can be sent back."""

    model_config = ConfigDict(extra="forbid")

    hostname: str = Field(description="Name of the server, unique", examples=["aix-prod-01"])
    ip_address: str | None = Field(None, description="Where to connect to; null: by hostname", examples=["10.0.4.17"])
    ssh_port: int = Field(22, ge=1, le=65535)
    ssh_username: str = Field(examples=["monitor"])
    ssh_password: SecretStr | None = Field(None, description=_WRITE_ONLY)
    ssh_private_key: SecretStr | None = Field(None, description=f"OpenSSH or PEM. {_WRITE_ONLY}")
    ssh_key_passphrase: SecretStr | None = Field(None, description=_WRITE_ONLY)
    ssh_certificate: SecretStr | None = Field(
        None, description=f"OpenSSH certificate of the private key, for logging in. {_WRITE_ONLY}"
    )
    ssh_jump_credentials: dict[str, dict[str, SecretStr]] | None = Field(
        None,
        description="Of jump hosts that `settings.jump` gives by address: `password`, `private_key`, `passphrase`, "
        f"`certificate` by `user@host:port`; without them the server's own are used. {_WRITE_ONLY}",
    )
    host_key: str | None = Field(
        None,
        description="The pinned host key: `SHA256:…` or `ssh-ed25519 AAAA…`; without it nobody logs in. Several are "
        "separated by commas; `@cert-authority` and `@revoked` before a key as in known_hosts",
        examples=["SHA256:uNiVztksCsDhcc0u9e8BrrCqmUGTQ1Rb3fP8c0cz3pY"],
    )
    operating_system: str | None = Field(None, description="aix, linux, solaris, hpux, freebsd; null: found at login")
    architecture: str | None = None
    is_active: bool = True
    owner: str | None = None
    organisation: str | None = None
    tags: list[str] = []
    settings: dict[str, Any] = Field(
        {},
        description="`intervals`, `commands`, `disabled` by metric family; `jump`: jump hosts in their order, each the "
        "name of a server or `{address: user@host:port, host_key}`; `timeouts`: `connect` and `command` in seconds",
    )

    @model_validator(mode="before")
    @classmethod
    def _pass_over_read_only(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: item for name, item in value.items() if name not in _READ_ONLY}


class ServerChange(ServerFields):
    """Any of the fields; those left out stay as they are."""

    hostname: str | None = None  # type: ignore[assignment]  # optional here; null is refused by the registry
    ssh_username: str | None = None  # type: ignore[assignment]


class ServerAnswer(BaseModel):
    id: ServerId
    hostname: str
    ip_address: str | None
    ssh_port: int
    ssh_username: str
    has_password: bool
    has_private_key: bool
    has_certificate: bool
    has_jump_credentials: bool
    host_key: str | None
    operating_system: str | None
    os_version: str | None
    architecture: str | None
    is_active: bool
    owner: str | None
    organisation: str | None
    tags: list[str]
    settings: dict[str, Any]
    status: str = Field(
        description="paused, pending_host_key, connecting, up, slow, degraded, quarantined_output, auth_failed, "
        "key_changed, unreachable"
    )
    status_message: str
    last_seen_at: Instant | None
    created_at: Instant
    updated_at: Instant


class ServerList(Listed):
    results: list[ServerAnswer]


class FamilyHealth(BaseModel):
    metric: str
    last_at: Instant | None
    age_s: float | None
    interval_s: float
    fresh: bool = Field(description="Younger than three of its intervals")


class PlannedFamily(BaseModel):
    family: str
    command: str = Field(description="What is run on the host for it")
    interval_s: float
    streamed: bool = Field(description="One command that reports for as long as the connection lasts")
    overridden: bool
    parser: str
    state: str = Field(description="ok, waiting, failing, unavailable (no such command), quarantined, off")
    reason: str
    first_lines: str = Field(description="Of output that nobody can read")


class DayAnswer(BaseModel):
    day: date
    available_pct: float | None = Field(description="Null where nothing is known of the day")
    known_s: float = Field(description="Without maintenance and times when nothing was collected")


class AvailabilityAnswer(BaseModel):
    available_pct: float | None = Field(description="Of the last 30 days")
    days: list[DayAnswer]


class Health(BaseModel):
    server_id: ServerId
    hostname: str
    status: str
    message: str
    last_seen_at: Instant | None
    age_s: float | None
    clock_offset_s: float | None = Field(description="The host's clock minus the collector's")
    recognised_at: Instant | None
    facts: dict[str, Any] = Field(description="What the host said of itself")
    plan: list[PlannedFamily]
    availability: AvailabilityAnswer
    families: list[FamilyHealth]


class HostKeyAnswer(BaseModel):
    type: str
    sha256: str = Field(description="As `ssh-keygen -l` shows it; compare it before it is pinned")
    line: str


class FamilyAnswer(BaseModel):
    command: str
    ok: bool
    message: str


class ConnectionAnswer(BaseModel):
    ok: bool
    message: str = Field(description="What stands in the way, or that nothing does")
    reachable: bool
    host_keys: list[HostKeyAnswer] = Field(description="The keys that the host shows; PATCH `host_key` pins one")
    host_key_state: str = Field(description="unknown, not_pinned, pinned, changed")
    login_ok: bool
    operating_system: str | None
    version: str
    architecture: str
    hostname: str
    cpus: int | None
    families: dict[str, FamilyAnswer]
    clock_offset_s: float | None
    duration_s: float


class Network(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cidr: str = Field(description="At most 4,096 addresses", examples=["10.0.4.0/24"])
    port: int = Field(22, ge=1, le=65535)
    host_keys: bool = Field(False, description="Show the fingerprints of their keys as well")


class FoundAnswer(BaseModel):
    address: str
    port: int
    greeting: str = Field(description="How the server names itself", examples=["SSH-2.0-OpenSSH_9.2p1"])
    name: str | None = Field(description="What DNS calls the address")
    operating_system: str | None = Field(description="What the greeting gives away; most give away nothing")
    registered: str | None = Field(description="Hostname of the server that is registered there already")
    host_keys: list[HostKeyAnswer]


class Discovered(BaseModel):
    count: int
    results: list[FoundAnswer]


def answer(server: Server) -> ServerAnswer:
    return ServerAnswer.model_validate(server, from_attributes=True)


def _sent(fields: ServerFields) -> dict[str, Any]:
    return {name: getattr(fields, name) for name in fields.model_fields_set}


@router.get("/")
def list_servers(request: Request, paging: PagingDep, data: DataDep) -> ServerList:
    """All servers by hostname, in pages."""
    found, count = data.servers_page(paging.page, paging.page_size)
    return ServerList(**paged(request, paging, count, [answer(server) for server in found]))


@router.post("/", status_code=201)
def add_server(fields: ServerFields, data: DataDep, response: Response) -> ServerAnswer:
    """Without `host_key` it is `pending_host_key`: test-connection shows the host's fingerprints, PATCH pins one."""
    server = data.add_server(_sent(fields))
    response.headers["Location"] = f"/api/servers/{server.id}/"
    return answer(server)


@router.post("/discover/")
def discover_servers(asked: Network, data: DataDep) -> Discovered:
    """Proposes hosts of a network that greet as SSH servers; nobody logs in and nothing is stored."""
    found = data.discover(asked.cidr, port=asked.port, with_host_keys=asked.host_keys)
    return Discovered(
        count=len(found), results=[FoundAnswer.model_validate(host, from_attributes=True) for host in found]
    )


@router.get("/{server_id}/")
def show_server(data: DataDep, server_id: int = Id) -> ServerAnswer:
    return answer(data.server(server_id))


@router.put("/{server_id}/")
def replace_server(fields: ServerFields, data: DataDep, server_id: int = Id) -> ServerAnswer:
    """Everything anew: fields left out get their defaults, except secrets, which stay."""
    secrets = set(SECRETS) - fields.model_fields_set
    new = {name: getattr(fields, name) for name in ServerFields.model_fields if name not in secrets}
    return answer(data.update_server(server_id, new))


@router.patch("/{server_id}/")
def change_server(fields: ServerChange, data: DataDep, server_id: int = Id) -> ServerAnswer:
    """Only the fields that are sent."""
    return answer(data.update_server(server_id, _sent(fields)))


@router.delete("/{server_id}/", status_code=204)
def remove_server(data: DataDep, server_id: int = Id) -> None:
    """Its samples stay until they are too old."""
    data.remove_server(server_id)


@router.post("/{server_id}/test-connection/")
def try_connection(data: DataDep, server_id: int = Id) -> ConnectionAnswer:
    """Tries the host now: what keys it shows, whether the login works, which system it is, what can be read."""
    return ConnectionAnswer.model_validate(data.test_connection(server_id), from_attributes=True)


@router.get("/{server_id}/health/")
def server_health(data: DataDep, server_id: int = Id) -> Health:
    """The collector's word on it, and how old the newest sample of each family is."""
    return Health.model_validate(data.server_health(server_id), from_attributes=True)
