"""`hps collect`: the collector in the foreground."""

import typer

app = typer.Typer()


@app.command("collect")
def collect(
    once: bool = typer.Option(False, "--once", help="Read every family once, say what came, and end."),
    server: str = typer.Option("", "--server", metavar="NAME", help="Only this server."),
) -> None:
    """Collect from all active servers until stopped."""
    import asyncio

    from hps_platform.collector.service import leave_process

    complete = asyncio.run(_collect(once=once, server=server))
    leave_process(0 if complete else 1)
    if not complete:
        raise typer.Exit(1)


async def _collect(*, once: bool, server: str) -> bool:
    """Whether every server gave something, in `--once`; else True."""
    import asyncio
    import signal
    from functools import partial

    from hps_platform import settings as configuration
    from hps_platform import stream
    from hps_platform.collector import Collector, SpoolLimits
    from hps_platform.store import servers
    from hps_platform.store.database import Database
    from hps_platform.store.secrets import SecretBox

    settings = configuration.load()
    box = SecretBox(settings.field_encryption_key)
    # A database that is away must not hold up leaving for longer than this.
    with Database(settings.dsn(), max_size=3, timeout_s=2.0, application_name="hps collector") as db:
        only = None
        if server:
            with db.connection() as conn:
                only = servers.find_server(conn, server).id
        collector = Collector(
            db,
            box,
            stream.Producer(settings.bootstrap, "hps-collector"),
            partial(
                stream.ensure_topics,
                settings.bootstrap,
                partitions=settings.kafka_partitions,
                replication=settings.kafka_replication,
                retention_hours=settings.kafka_retention_hours,
            ),
            SpoolLimits(
                settings.data_dir / "collector", settings.spool_max_mb * 1_000_000, settings.spool_max_hours * 3600
            ),
            only=only,
            once=once,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, collector.stop)
        await collector.run()
    if once:
        return _say(collector.summary())
    return True


def _say(summary: "list[tuple[str, str, str, dict[str, str]]]") -> bool:
    for hostname, state, message, families in summary:
        typer.echo(f"{hostname}: {state}" + (f": {message}" if message else ""))
        for family, words in families.items():
            typer.echo(f"  {family:<11} {words}")
    if not summary:
        typer.echo("no active servers: add one with `hps server add`")
    return all(state == "up" for _, state, _, _ in summary)
