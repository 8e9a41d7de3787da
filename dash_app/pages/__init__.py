"""The pages of the app, one module (or package) each. Adding a page is adding a module here that defines `PAGE`.

`PAGE` says where the page is and what it is called; its `layout` builds it from the address's query, its `register`
adds its callbacks. Pages do not know each other: they link by address.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dash import Dash

from dash_app.data import Data

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AppPage:
    """`path` such as "/history"; `icon` as in `components.icons`; `order` in the navigation; `lasting` components stay
    in the shell whatever page is shown."""

    path: str
    name: str
    icon: str
    order: int
    layout: Callable[[Data, Query], Awaitable[Any]]
    register: Callable[[Dash, Data], None]
    lasting: Callable[[], list[Any]] = list


@cache
def pages() -> tuple[AppPage, ...]:
    """Every page found beside this module, in the order of the navigation."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found.append(importlib.import_module(f"{__name__}.{module.name}").PAGE)
    return tuple(sorted(found, key=lambda page: page.order))
