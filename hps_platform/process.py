"""Processes that move very much at once: fewer searches for garbage, memory kept, longer turns on a processor."""

import ctypes
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@contextmanager
def seldom_searched(objects: int, *, whole: int) -> Iterator[None]:
    """Searches for cycles of garbage among new objects only when there are so many more; of all every `whole`-th time.

    Python counts objects made less objects gone, and the usual 700 are passed by every batch: then all that is alive is
    looked at again and again, a collector's thousands of connections included, though hardly anything forms cycles.
    What is alive at the beginning is left out until the end.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(objects, 20, max(1, whole // 20))
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def keep_freed(size: int) -> None:
    """From now on up to `size` bytes that are freed stay with the process, for the next who asks for some.

    Where megabytes come and go several times a second, the kernel's handing out of pages that are cleared first takes a
    fifth of the work with them. Other C libraries than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not (mallopt(_M_TRIM_THRESHOLD, size) and mallopt(_M_MMAP_THRESHOLD, size)):
        logger.debug("this C library's allocator cannot be told to keep %d bytes", size)


@contextmanager
def in_long_turns() -> Iterator[None]:
    """This thread, and those that it begins meanwhile, don't interrupt others when they wake up, but wait for a turn.

    Where more threads work than there are processors, each change takes the next one's data out of the caches: with
    two landing runs on two processors a twentieth of all that they and PostgreSQL do. Linux only; a thread that has
    been given other turns keeps them.
    """
    lengthened = _change_turns("SCHED_OTHER", "SCHED_BATCH")
    try:
        yield
    finally:
        if lengthened:
            _change_turns("SCHED_BATCH", "SCHED_OTHER")


def _change_turns(before: str, after: str) -> bool:
    try:
        if os.sched_getscheduler(0) != getattr(os, before):
            return False
        os.sched_setscheduler(0, getattr(os, after), os.sched_param(0))
    except (AttributeError, OSError) as error:  # another kernel, or a sandbox that does not allow it
        logger.debug("this thread's turns stay as they are: %s", error)
        return False
    return True
