"""netstat: packets, bytes, errors and drops; one row per interface and sample."""

from hps_platform.metrics.family import CAPACITY, PEAKS, Column, Family, Kind

FAMILY = Family(
    name="netstat",
    title="Network interfaces",
    help="Cumulative counters as printed, and rates between two samples, one row per interface and sample.",
    key="interface",
    interval_s=10.0,
    headline="ipkts_s",
    columns=(
        Column("interface", "", "The interface's name.", Kind.TEXT, "Interface"),
        Column("mtu", "bytes", "Largest packet.", Kind.WHOLE, "MTU", rollup=CAPACITY),
        Column("ipkts", "packets", "Packets received since boot.", Kind.COUNTER, "Packets received"),
        Column("ierrs", "packets", "Receive errors since boot.", Kind.COUNTER, "Receive errors"),
        Column("opkts", "packets", "Packets sent since boot.", Kind.COUNTER, "Packets sent"),
        Column("oerrs", "packets", "Send errors since boot.", Kind.COUNTER, "Send errors"),
        Column("coll", "collisions", "Collisions since boot.", Kind.COUNTER, "Collisions"),
        Column("idrops", "packets", "Received packets dropped since boot.", Kind.COUNTER, "Receive drops"),
        Column("odrops", "packets", "Packets dropped on sending since boot.", Kind.COUNTER, "Send drops"),
        Column("ibytes", "bytes", "Bytes received since boot.", Kind.COUNTER, "Bytes received"),
        Column("obytes", "bytes", "Bytes sent since boot.", Kind.COUNTER, "Bytes sent"),
        Column("ipkts_s", "packets/s", "Packets received.", label="Packets in", rollup=PEAKS),
        Column("ierrs_s", "packets/s", "Receive errors.", label="Errors in"),
        Column("opkts_s", "packets/s", "Packets sent.", label="Packets out", rollup=PEAKS),
        Column("oerrs_s", "packets/s", "Send errors.", label="Errors out"),
        Column("ibytes_s", "bytes/s", "Bytes received.", label="Bytes in", rollup=PEAKS),
        Column("obytes_s", "bytes/s", "Bytes sent.", label="Bytes out", rollup=PEAKS),
    ),
)
