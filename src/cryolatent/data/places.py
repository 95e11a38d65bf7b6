"""Where files are that were moved after their paths were written down."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cryolatent.errors import InputError


@dataclass(frozen=True)
class Moves:
    """Folders that have another place than when a path to something in them was written.

    Args:
        given: Old and new folders that someone has named, the latest first. What lies at the new
            place is taken, even if there is something at the old one.
        likely: Old and new folders that follow from where a run or a packed folder has gone. They
            are asked where nothing is at the path itself.
    """

    given: tuple[tuple[Path, Path], ...] = ()
    likely: tuple[tuple[Path, Path], ...] = ()

    @staticmethod
    def parsed(texts: Iterable[str]) -> "Moves":
        """Read moves as options give them.

        Args:
            texts: ``OLD=NEW`` each, the latest first.

        Returns:
            Moves that are given.

        Raises:
            InputError: If a text is of another form.

        >>> Moves.parsed(["/old/disk=/new"]).places(Path("/old/disk/a.mrcs"))
        [PosixPath('/new/a.mrcs'), PosixPath('/old/disk/a.mrcs')]
        """
        pairs = []
        for text in texts:
            old, _, new = text.partition("=")
            if not old or not new:
                way_out = "Give the folder as it was written down, and the one that it is now."
                raise InputError("`relocate`", text or "nothing", "OLD=NEW", way_out)
            pairs.append((Path(old), Path(new)))
        return Moves(tuple(pairs))

    @property
    def texts(self) -> tuple[str, ...]:
        """What `parsed` makes them of."""
        return tuple(f"{old}={new}" for old, new in self.given)

    def with_owner(self, home: Path | None, here: Path) -> "Moves":
        """The same moves, and those that follow from where the owner of the paths has gone.

        Args:
            home: Its folder when it wrote the paths; None if that was not written.
            here: Its folder now.

        Returns:
            The moves; folders above follow from it as far as old and new differ.
        """
        old, new, pairs = home, here.resolve(), []
        while old is not None and old != new and old.name and new.name:
            pairs.append((old, new))
            old, new = old.parent, new.parent
        return replace(self, likely=tuple(pairs))

    def places(self, path: Path) -> list[Path]:
        """Where something may be.

        Args:
            path: Where it was.

        Returns:
            Paths, the best first.
        """
        found = [path]
        for pair in reversed(self.given):
            found = [*(_moved(place, pair) for place in found), *found]
        found += [_moved(place, pair) for pair in self.likely for place in found]
        return list(dict.fromkeys(found))

    def find(self, path: Path) -> Path:
        """Where something is.

        Args:
            path: Where it was.

        Returns:
            The best place at which something is; the best of all if there is nothing anywhere.
        """
        places = self.places(path)
        return next((place for place in places if place.exists()), places[0])


STILL = Moves()
"""Nothing was moved."""


def absolute_move(text: str) -> str:
    """A move as an option gives it, for use from any folder.

    Args:
        text: ``OLD=NEW``.

    Returns:
        The same with an absolute new folder.
    """
    old, _, new = text.partition("=")
    return f"{old}={Path(new).absolute()}"


def _moved(path: Path, pair: tuple[Path, Path]) -> Path:
    old, new = pair
    return new / path.relative_to(old) if path.is_relative_to(old) else path
