"""Collecting: one login a host, many commands on it, samples at the edge, Kafka behind.

`Collector` is the service, `test_connection` tries one host on behalf of a person. Which commands a host is asked and
how its answers are read belongs to `hps_platform.dialects`; SSH itself to `hps_platform.ssh`.
"""

from hps_platform.collector.delivery import SpoolLimits
from hps_platform.collector.probe import ConnectionReport, FamilyReport, test_connection
from hps_platform.collector.registry import target_of
from hps_platform.collector.service import Collector

__all__ = ["Collector", "ConnectionReport", "FamilyReport", "SpoolLimits", "target_of", "test_connection"]
