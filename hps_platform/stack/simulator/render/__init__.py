"""How each operating system puts a machine's state into words: one module per system, `forms` for what they share.

Every simulated command names the captured output whose layout it follows (`<os>/<file>` in the shared folder of
fixtures), so that a test can lay the two side by side.
"""

from types import ModuleType

from hps_platform.stack.simulator.render import aix, hpux, linux, solaris
from hps_platform.stack.simulator.render.forms import Answer, Once, Stream

SYSTEMS: dict[str, ModuleType] = {"aix": aix, "linux": linux, "solaris": solaris, "hpux": hpux}


def answer(os: str, program: str, options: tuple[str, ...]) -> Answer | None:
    """What the program prints with these options (numbers for interval and count left out); None if there is none.

    Raises InvalidInput with the program's own words where it exists but does not know the options.
    """
    found: Answer | None = SYSTEMS[os].answer(program, options)
    return found


__all__ = ["SYSTEMS", "Answer", "Once", "Stream", "answer"]
