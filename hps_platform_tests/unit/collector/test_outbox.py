"""The queue before Kafka: order, bound, and messages that come back undelivered."""

from collections.abc import Callable, Sequence

from hps_platform.collector.backoff import Backoff
from hps_platform.collector.outbox import Message, Outbox
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


def test_nothing_is_sent_before_the_topics_are_there() -> None:
    broker = Broker()
    outbox = Outbox(broker)
    _put(outbox, b"1")
    outbox.pump()
    assert broker.pending == []
    outbox.open = True
    outbox.pump()
    broker.answer()
    assert (broker.arrived, len(outbox), outbox.sent) == ([b"1"], 0, 1)


def test_a_full_producer_is_tried_again_without_losing_the_order() -> None:
    broker = Broker()
    broker.room = 2
    outbox = Outbox(broker)
    outbox.open = True
    _put(outbox, b"1", b"2", b"3")
    outbox.pump()
    broker.answer()
    outbox.pump()
    broker.answer()
    assert broker.arrived == [b"1", b"2", b"3"]


def test_undelivered_messages_go_first_and_later_ones_wait_for_them() -> None:
    broker = Broker()
    outbox = Outbox(broker)
    outbox.open = True
    _put(outbox, b"1", b"2", b"3")
    outbox.pump()
    broker.answer(fail={b"1", b"3"})
    _put(outbox, b"4")
    outbox.pump()
    broker.answer()
    assert broker.arrived == [b"2", b"1", b"3", b"4"]
    assert len(outbox) == 0


def test_nothing_is_sent_while_some_of_a_failed_batch_are_still_on_the_way() -> None:
    broker = Broker()
    outbox = Outbox(broker)
    outbox.open = True
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


def test_past_the_bound_the_oldest_are_dropped_and_counted() -> None:
    broker = Broker()
    outbox = Outbox(broker, max_bytes=10_000)
    _put(outbox, *(str(number).encode() for number in range(100)))
    assert 0 < outbox.dropped < 100
    outbox.open = True
    outbox.pump()
    broker.answer()
    assert broker.arrived == [str(number).encode() for number in range(outbox.dropped, 100)]


def test_a_message_that_is_too_large_does_not_hold_up_the_others() -> None:
    broker = Broker()
    outbox = Outbox(broker)
    outbox.open = True
    _put(outbox, b"1", b"too large", b"2")
    outbox.pump()
    broker.answer()
    assert (broker.arrived, outbox.refused, len(outbox)) == ([b"1", b"2"], 1, 0)


def test_waits_double_up_to_a_bound_and_never_march_in_step() -> None:
    backoff = Backoff(1.0, 60.0)
    waits = [backoff.wait_s() for _ in range(12)]
    for wait, longest in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60], strict=True):
        assert longest / 2 <= wait <= longest
    backoff.reset()
    assert backoff.wait_s() <= 1
    assert len({Backoff().wait_s() for _ in range(10)}) > 1
