"""The guard: which object crosses from one event loop to another, in which test, and what cures it.

`loopbound.guard.plugin` is the plugin for pytest; ``with loopbound.guard.watch(engine):`` is the
same without pytest. Needs the standard library only; of other packages it looks at those that the
process imports itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopbound.guard.script import watch

__all__ = ["watch"]


def __getattr__(name: str) -> object:
    # Loaded when asked for: the plugin is there in every run of pytest, and silent in most.
    if name == "watch":
        from loopbound.guard.script import watch

        return watch
    raise AttributeError(f"module 'loopbound.guard' has no attribute {name!r}")
