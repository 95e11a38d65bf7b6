"""What the page may ask: bodies of its requests, each checked before anything is done."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cryolatent.explore.selection import Selection
from cryolatent.runs.finding import Record

MOST_DIMENSIONS, MOST_COLUMNS, MOST_FRAMES = 256, 32, 100
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


class OfMeasured(Record):
    """The map that the analysis made of a cluster's own particles."""

    kind: Literal["measured"]
    number: Annotated[int, Field(ge=0)]


class OfLatent(Record):
    """The volume at a place of latent space."""

    kind: Literal["latent"]
    values: Annotated[tuple[float, ...], Field(max_length=MOST_DIMENSIONS)]


Of = Annotated[OfRow | OfSelection | OfCluster | OfMeasured | OfLatent, Field(discriminator="kind")]


class VolumeQuestion(Record):
    """A volume."""

    of: Of
    """Where."""

    minus: Of | None = None
    """What is taken from it, if a difference is to be shown."""

    enclosed: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the box inside the surface; the run's usual one if left out."""

    level: float | None = None
    """Density of the surface, in place of a share."""

    finest: Annotated[int, Field(ge=8, le=256)] = 128
    """Cells along a side at most."""


class SectionsQuestion(Record):
    """Sections through a volume."""

    of: Of
    """Where."""

    depth: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Where each plane cuts its axis, from one side of the box to the other."""


class VolumeFileQuestion(Record):
    """A volume to be written."""

    of: Of
    """Where."""

    name: str
    """Of the file."""


class TableQuestion(Record):
    """Columns of selected particles."""

    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_COLUMNS)]
    """Names."""

    selection: Selection = Selection()
    """Whose; of all particles if nothing is selected."""


class DraftQuestion(Record):
    """A volume of a run in training."""

    number: Annotated[int, Field(ge=0)] = 0
    """Which, counted from zero."""


class AcrossQuestion(Record):
    """The same particles in another run."""

    other: Annotated[int, Field(ge=0)]
    """Number of the other run."""

    selection: Selection = Selection()
    """Which particles; all if nothing is selected."""


class SetsQuestion(Record):
    """Two sets of particles."""

    first: Selection
    """The one."""

    second: Selection | None = None
    """The other; all particles that are not in the one if left out."""


class PathQuestion(Record):
    """A path through latent space."""

    ends: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
    """Rows of the particles at its ends."""

    frames: Annotated[int, Field(ge=2, le=MOST_FRAMES)] = 16
    """Places along it, ends included."""

    way: Literal["straight", "populated"] = "straight"
    """Straight, or the shortest way over particles."""

    x: str
    """Column of the map's horizontal axis."""

    y: str
    """Column of its vertical axis."""


class PathFilesQuestion(Record):
    """A path whose volumes are to be written."""

    along: PathQuestion
    """The path."""

    name: str
    """Of the folder."""


class ImagesQuestion(Record):
    """Images of selected particles, a page of them."""

    selection: Selection = Selection()
    """Whose; of all particles if nothing is selected."""

    page: Annotated[int, Field(ge=0)] = 0
    """Counted from zero."""

    size: Annotated[int, Field(ge=1, le=24)] = 6
    """Particles on a page."""

    order: str | None = None
    """Column by whose values, lowest first, particles come; the order of the run if left out."""

    descending: bool = False
    """Highest first."""

    low_pass_angstrom: Annotated[float, Field(gt=0)] | None = None
    """Finest detail of the filtered images, in Å; eight pixels if left out."""


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


class StatesQuestion(Record):
    """All states to be written, each to a file of its own."""

    name: str
    """What the files' names begin with."""

    kind: str
    """Their ending."""


class ExportQuestion(Record):
    """A selection to be written."""

    selection: Selection
    name: str
    """Of the files."""

    kind: str
    """Their ending."""
