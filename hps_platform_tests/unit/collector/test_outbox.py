"""The queue before Kafka: order, bound, messages that come back undelivered, and what is left after a kill."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hps_platform.collector.backoff import Backoff
from hps_platform.collector.outbox import Outbox
from hps_platform.collector.spool import Message, Segment, Spool
from hps_platform.errors import InvalidInput, KafkaUnavailable

Delivery = Callable[[Exception | None], None]


class Broker:
    """Stands in for the producer; takes messages when told to, and answers when told to."""

    def __init__(self) -> None:
        self.room = 10_000
        self.pending: list[tuple[bytes, Delivery]] = []
        self.arrived: list[bytes] = []

    def send(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        on_delivery: Delivery | None = None,
    ) -> None:
        if value == b"too large":
            raise InvalidInput("too large")
        if len(self.pending) >= self.room:
            raise KafkaUnavailable("full")
        assert on_delivery is not None
        self.pending.append((value, on_delivery))

    def poll(self, timeout_s: float = 0.0) -> int:
        return 0

    def answer(self, *, fail: set[bytes] = frozenset()) -> None:  # type: ignore[assignment]  # an empty set will do
        pending, self.pending = self.pending, []
        for value, on_delivery in pending:
            if value in fail:
                on_delivery(KafkaUnavailable("timed out"))
            else:
                self.arrived.append(value)
                on_delivery(None)


def _put(outbox: Outbox, *values: bytes) -> None:
    for value in values:
        outbox.put(Message("hps.vmstat", b"1", value))


def _outbox(broker: Broker, folder: Path, *, max_bytes: int = 2**20, in_memory: int = 2**20) -> Outbox:
    outbox = Outbox(broker, Spool(folder, max_bytes=max_bytes, max_age_s=3600), in_memory=in_memory)
    outbox.open = True
    return outbox


def _drain(outbox: Outbox, broker: Broker) -> None:
    while len(outbox):
        outbox.pump()
        broker.answer()


def _numbers(first: int, end: int) -> list[bytes]:
    return [str(number).encode() for number in range(first, end)]


def test_nothing_is_sent_before_the_topics_are_there(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    outbox.open = False
    _put(outbox, b"1")
    outbox.pump()
    assert broker.pending == []
    outbox.open = True
    outbox.pump()
    broker.answer()
    assert (broker.arrived, len(outbox), outbox.sent) == ([b"1"], 0, 1)


def test_a_full_producer_is_tried_again_without_losing_the_order(tmp_path: Path) -> None:
    broker = Broker()
    broker.room = 2
    outbox = _outbox(broker, tmp_path)
    _put(outbox, b"1", b"2", b"3")
    outbox.pump()
    broker.answer()
    outbox.pump()
    broker.answer()
    assert broker.arrived == [b"1", b"2", b"3"]


def test_undelivered_messages_go_first_and_later_ones_wait_for_them(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    _put(outbox, b"1", b"2", b"3")
    outbox.pump()
    broker.answer(fail={b"1", b"3"})
    _put(outbox, b"4")
    outbox.pump()
    broker.answer()
    assert broker.arrived == [b"2", b"1", b"3", b"4"]
    assert len(outbox) == 0


def test_nothing_is_sent_while_some_of_a_failed_batch_are_still_on_the_way(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    _put(outbox, b"1", b"2")
    outbox.pump()
    (_, first), (_, second) = broker.pending
    broker.pending = []
    first(KafkaUnavailable("timed out"))
    _put(outbox, b"3")
    outbox.pump()
    assert broker.pending == []
    second(None)
    outbox.pump()
    assert [value for value, _ in broker.pending] == [b"1", b"3"]


def test_a_message_that_is_too_large_does_not_hold_up_the_others(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    _put(outbox, b"1", b"too large", b"2")
    outbox.pump()
    broker.answer()
    assert (broker.arrived, outbox.refused, len(outbox)) == ([b"1", b"2"], 1, 0)


def test_kafka_is_late_from_when_it_takes_nothing_until_it_takes_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("hps_platform.collector.outbox.time.monotonic", lambda: now)
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    seen = []
    now = 2000.0
    seen.append(outbox.late)  # nothing waits
    _put(outbox, b"1", b"2")
    outbox.pump()
    seen.append(outbox.late)
    now += 6
    seen.append(outbox.late)
    broker.answer(fail={b"1", b"2"})
    outbox.pump()
    seen.append(outbox.late)  # what is sent again is still late
    broker.answer()
    seen.append(outbox.late)
    assert seen == [False, False, True, True, False]


def test_what_arrives_at_once_is_never_written(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    _put(outbox, b"1", b"2")
    outbox.pump()
    broker.answer()
    outbox.save(everything=True)
    assert outbox.spool.size == 0
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_what_had_not_arrived_is_sent_by_the_next_session_with_its_headers(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    headers = [("session", b"first"), ("raw", b"\x00\xff\n"), ("exit_code", b"")]
    _put(outbox, b"0")
    outbox.put(Message("hps.iostat", b"7", b"value", headers))
    outbox.pump()
    outbox.save(everything=True)
    broker.answer(fail={b"value"})
    outbox.save(everything=True)
    # Here the process is killed: nothing is closed.
    after = Spool(tmp_path, max_bytes=2**20, max_age_s=3600)
    assert after.unread == 1
    ((_, _, message),) = after.read(10)
    assert message == Message("hps.iostat", b"7", b"value", headers)


def test_a_backlog_past_memory_waits_on_disk_and_keeps_its_order(tmp_path: Path) -> None:
    broker = Broker()
    broker.room = 3
    outbox = _outbox(broker, tmp_path, in_memory=2_000)
    values = _numbers(0, 200)
    for value in values[:100]:
        _put(outbox, value)
        outbox.pump()
    outbox.save(everything=True)
    assert outbox.spool.unread > 50
    for value in values[100:]:
        _put(outbox, value)
        outbox.pump()
        if value.endswith(b"5"):
            broker.answer()
            outbox.save(everything=True)
    assert len(outbox) > 100
    _drain(outbox, broker)
    assert broker.arrived == values
    outbox.close()
    assert list(tmp_path.iterdir()) == []


def test_past_the_bound_the_oldest_are_dropped_and_counted(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path, max_bytes=16_000)
    outbox.open = False
    for value in _numbers(0, 1000):
        _put(outbox, value)
        outbox.save(everything=True)
    assert 0 < outbox.dropped < 1000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 20_000
    assert len(outbox) == 1000 - outbox.dropped
    outbox.open = True
    _drain(outbox, broker)
    assert broker.arrived == _numbers(outbox.dropped, 1000)


def test_what_is_on_the_way_when_its_place_is_dropped_arrives_or_counts_as_dropped(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path, max_bytes=16_000)
    _put(outbox, b"first", b"second")
    outbox.pump()
    outbox.save(everything=True)
    for value in _numbers(0, 1000):
        _put(outbox, value)
        outbox.save(everything=True)
    dropped = outbox.dropped
    broker.answer(fail={b"second"})
    _drain(outbox, broker)
    assert outbox.dropped == dropped + 1
    assert broker.arrived[0] == b"first"
    assert len(broker.arrived) == 1002 - outbox.dropped


def test_what_is_too_old_is_dropped_and_counted(tmp_path: Path) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path)
    outbox.open = False
    _put(outbox, b"1", b"2")
    outbox.save(everything=True)
    (segment,) = tmp_path.iterdir()
    an_hour_ago = segment.stat().st_mtime - 3700
    os.utime(segment, (an_hour_ago, an_hour_ago))
    later = _outbox(broker, tmp_path)
    _put(later, b"3")
    later.save(everything=True)
    _drain(later, broker)
    assert (later.dropped, broker.arrived) == (2, [b"3"])


def test_a_disk_that_takes_nothing_leaves_messages_in_memory_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    outbox = _outbox(broker, tmp_path, in_memory=10_000)
    outbox.open = False

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    for value in _numbers(0, 300):
        _put(outbox, value)
        outbox.save(everything=True)
    assert "No space" in outbox.disk_problem
    assert 0 < outbox.dropped < 250
    monkeypatch.undo()
    outbox.save(everything=True)
    assert outbox.disk_problem == ""
    assert len(outbox) == 300 - outbox.dropped
    outbox.open = True
    _drain(outbox, broker)
    assert broker.arrived == sorted(broker.arrived, key=int)
    assert len(broker.arrived) == 300 - outbox.dropped


def test_a_record_that_was_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    outbox = _outbox(Broker(), tmp_path)
    _put(outbox, *_numbers(0, 5))
    outbox.save(everything=True)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        segment = Segment.found(path)
        read = [message.value for _, message in segment.read(10)]
        segment.close()
        assert read == _numbers(0, 5)[: len(read)]
        assert len(read) < 5


def test_another_places_messages_go_first(tmp_path: Path) -> None:
    broker = Broker()
    other = _outbox(Broker(), tmp_path / "other")
    _put(other, *_numbers(0, 3))
    other.save(everything=True)
    outbox = _outbox(broker, tmp_path / "own")
    taken = outbox.spool.claim(tmp_path / "other")
    assert outbox.spool.adopt(taken) == 3
    _put(outbox, *_numbers(3, 5))
    outbox.save(everything=True)
    _drain(outbox, broker)
    assert broker.arrived == _numbers(0, 5)
    assert list((tmp_path / "other").iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["put", "put", "put", "pump", "answer", "fail", "save", "kill"]), min_size=1, max_size=120
    ),
    in_memory=st.sampled_from([0, 1_000, 100_000]),
)
def test_whatever_happens_no_message_that_was_saved_is_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], in_memory: int
) -> None:
    """Nothing is lost but what a kill finds unsaved; without kills and failures nothing comes twice or out of turn."""
    folder = tmp_path_factory.mktemp("spool")
    broker = Broker()
    broker.room = 7
    outbox = _outbox(broker, folder, in_memory=in_memory)
    put, may_be_lost = 0, set[bytes]()
    unsaved: set[bytes] = set()
    for step in steps:
        if step == "put":
            unsaved.add(str(put).encode())
            _put(outbox, str(put).encode())
            put += 1
        elif step == "pump":
            outbox.pump()
        elif step == "answer":
            broker.answer()
        elif step == "fail":
            broker.answer(fail={value for value, _ in broker.pending[1:3]})
        elif step == "save":
            outbox.save(everything=True)
            unsaved.clear()
        else:
            may_be_lost |= unsaved
            unsaved.clear()
            broker.pending.clear()
            outbox = _outbox(broker, folder, in_memory=in_memory)
    outbox.save(everything=True)
    _drain(outbox, broker)
    assert set(_numbers(0, put)) - set(broker.arrived) <= may_be_lost
    assert outbox.dropped == 0
    if not {"kill", "fail"} & set(steps):
        assert broker.arrived == _numbers(0, put)
    outbox.close()
    assert list(folder.iterdir()) == []


def test_waits_double_up_to_a_bound_and_never_march_in_step() -> None:
    backoff = Backoff(1.0, 60.0)
    waits = [backoff.wait_s() for _ in range(12)]
    for wait, longest in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60], strict=True):
        assert longest / 2 <= wait <= longest
    backoff.reset()
    assert backoff.wait_s() <= 1
    assert len({Backoff().wait_s() for _ in range(10)}) > 1
