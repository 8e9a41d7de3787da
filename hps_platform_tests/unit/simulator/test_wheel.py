"""The clock of all streams."""

import asyncio

from hps_platform.stack.simulator.wheel import Wheel


def test_callbacks_come_in_order_and_not_early() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        wheel, begin, done = Wheel(), loop.time(), asyncio.Event()
        seen: list[tuple[str, float]] = []

        def note(name: str) -> None:
            seen.append((name, loop.time() - begin))
            if len(seen) == 3:
                done.set()

        wheel.at(begin + 0.12, lambda: note("last"))
        wheel.at(begin + 0.03, lambda: note("first"))
        wheel.at(begin + 0.06, lambda: note("second"))
        await asyncio.wait_for(done.wait(), 10)
        assert [name for name, _ in seen] == ["first", "second", "last"]
        assert all(after >= due for (_, after), due in zip(seen, (0.03, 0.06, 0.12), strict=True))

    asyncio.run(run())


def test_one_that_fails_does_not_stop_the_others() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        failures: list[str] = []
        loop.set_exception_handler(lambda _, context: failures.append(str(context["exception"])))
        wheel, done = Wheel(), asyncio.Event()

        def fail() -> None:
            raise ValueError("this one is broken")

        due = loop.time() + 0.02
        wheel.at(due, fail)
        wheel.at(due, lambda: wheel.at(due + 0.02, done.set))
        await asyncio.wait_for(done.wait(), 10)
        assert failures == ["this one is broken"]

    asyncio.run(run())


def test_nothing_comes_after_a_stop() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        wheel, other, done = Wheel(), Wheel(), asyncio.Event()
        seen: list[str] = []
        wheel.at(loop.time() + 0.02, lambda: seen.append("stopped"))
        wheel.stop()
        other.at(loop.time() + 0.06, done.set)
        await asyncio.wait_for(done.wait(), 10)
        assert not seen

    asyncio.run(run())
