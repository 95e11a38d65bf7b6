"""What a user says of states: names, which are one, which are junk; kept with the exports."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from cryolatent.errors import InputError
from cryolatent.io.files import write_text_atomically
from cryolatent.runs.finding import Record
from cryolatent.runs.latents import damaged

MOST, LONGEST = 1000, 60
Number = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]


class StateMarks(Record):
    """What was said. Nothing of the run changes: state k stays state k in every file."""

    names: dict[Number, Name] = Field(default_factory=dict, max_length=MOST)
    """Names, by number."""

    merged: dict[Number, Number] = Field(default_factory=dict, max_length=MOST)
    """For a state that is one with another, the number of that other, which stands for both."""

    junk: Annotated[tuple[Number, ...], Field(max_length=MOST)] = ()
    """States that are none; all that were merged into them are none either."""

    @model_validator(mode="after")
    def _stands(self) -> "StateMarks":
        if set(self.merged) & set(self.merged.values()):
            raise ValueError("a state that is one with another stands for none itself")
        return self

    def parts(self, numbers: Sequence[int], word: str) -> dict[str, list[int]]:
        """The states as they are to be written.

        Args:
            numbers: Those that there are.
            word: What one is called.

        Returns:
            Numbers of each part by a name that a file can have: the one given, or ``state_0_3``;
            all junk together last.
        """
        roots: dict[int, list[int]] = {}
        for number in numbers:
            roots.setdefault(self.merged.get(number, number), []).append(number)
        junk = [number for root in self.junk for number in roots.pop(root, ())]
        found: dict[str, list[int]] = {}
        for root, members in roots.items():
            plain = f"{word}_{'_'.join(map(str, members))}"
            name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", self.names.get(root, "")).strip("_.")
            unused = name and name != "junk" and name not in found
            found[name if unused else plain] = members
        return found | ({"junk": sorted(junk)} if junk else {})


def read_marks(path: Path) -> StateMarks:
    """Read what `write_marks` wrote.

    Args:
        path: The file.

    Returns:
        What was said; nothing where there is no file.

    Raises:
        InputError: If it is damaged, or a link.
    """
    _check_own(path)
    try:
        return StateMarks.model_validate_json(path.read_bytes()) if path.exists() else StateMarks()
    except (OSError, ValidationError) as error:
        raise damaged(path, error) from None


def write_marks(path: Path, marks: StateMarks) -> None:
    """Keep what was said.

    Args:
        path: Where; what was there is replaced.
        marks: What was said.

    Raises:
        InputError: If a link is there.
    """
    _check_own(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, marks.model_dump_json(indent=1) + "\n")


def _check_own(path: Path) -> None:
    if path.is_symlink():
        raise InputError(path, "a link", "a file of this page, or none", "Remove it.")
