"""Ports: free ones, that no outgoing connection takes."""

import socket
from pathlib import Path

import pytest

from hps_platform.stack import ports


def test_a_free_port_is_none_of_those_for_outgoing_connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = tmp_path / "range"
    known.write_text("20000\t60999\n")
    monkeypatch.setattr(ports, "_RANGE", known)
    found = {ports.free_port() for _ in range(200)}
    assert len(found) > 150
    assert all(10_240 <= port < 20_000 for port in found)


def test_where_all_are_for_outgoing_connections_one_of_them_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = tmp_path / "range"
    known.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "_RANGE", known)
    assert len({ports.free_port() for _ in range(20)}) > 10
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports.free_port()))
        server.listen()
        assert not ports.is_free(server.getsockname()[1])
