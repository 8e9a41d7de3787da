"""Python's search for cycles of garbage, made rare where many small objects live for a moment and form none.

It counts objects made less objects gone, and the usual 700 are passed by every batch: then all that is alive is looked
at again and again, a collector's thousands of connections included.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seldom_searched(objects: int, *, whole: int) -> Iterator[None]:
    """Searches among new objects only when there are so many more of them; of all objects every `whole`-th such time.

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
