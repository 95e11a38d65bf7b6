"""How far work has come: the one way in which functions of every room tell it."""

from collections.abc import Callable

Advance = Callable[[int], None]
"""Told how many units of a stage are done, all together."""

Stage = Callable[[str, int], Advance]
"""Begins a stage of a name and a number of units."""


def unwatched(done: int) -> None:
    """Tell nobody how far a stage has come."""


def silent(name: str, total: int) -> Advance:
    """Begin a stage of which nobody is told."""
    return unwatched
