"""What the page may ask: bodies of its requests, each checked before anything is done."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cryolatent.explore.selection import Selection
from cryolatent.runs.finding import Record

Bins = Annotated[int, Field(ge=1, le=600)]


class MapQuestion(Record):
    """What lies in a rectangle of a map."""

    x: str
    """Column of the horizontal axis."""

    y: str
    """Column of the vertical axis."""

    window: tuple[float, float, float, float] | None = None
    """Left, right, low, high; around all particles if left out."""

    bins: tuple[Bins, Bins]
    """Across and up."""

    colour: str | None = None
    """Column that bins and points are coloured by."""

    selection: Selection = Selection()
    """What is selected."""

    @model_validator(mode="after")
    def _spans(self) -> "MapQuestion":
        if self.window is not None:
            left, right, low, high = self.window
            if not (left < right and low < high):
                raise ValueError("a window from low to high")
        return self


class OfRow(Record):
    """The volume at a particle's latent."""

    kind: Literal["row"]
    row: Annotated[int, Field(ge=0)]


class OfSelection(Record):
    """The volume at the mean latent of selected particles."""

    kind: Literal["selection"]
    selection: Selection


class OfCluster(Record):
    """The volume that the analysis wrote of a cluster."""

    kind: Literal["cluster"]
    number: Annotated[int, Field(ge=0)]


class VolumeQuestion(Record):
    """A volume."""

    of: Annotated[OfRow | OfSelection | OfCluster, Field(discriminator="kind")]
    """Where."""

    enclosed: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the box inside the surface; the run's usual one if left out."""

    finest: Annotated[int, Field(ge=8, le=256)] = 128
    """Cells along a side at most."""


class NearestQuestion(Record):
    """Which particle is nearest to a place on a map."""

    x: str
    """Column of the horizontal axis."""

    y: str
    """Column of the vertical axis."""

    at: tuple[float, float]
    """The place."""

    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    """Units of both axes that are equally long on the screen."""


class ExportQuestion(Record):
    """A selection to be written."""

    selection: Selection
    name: str
    """Of the files."""

    kind: str
    """Their ending."""
