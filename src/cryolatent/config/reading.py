"""How particles are read, checked and packed: options that commands share."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
TABLES = ("poses", "ctf", "ind", "passthrough")


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


@Parameter(name="*", group=Group("Data", sort_key=1))
class TablesConfig(Section):
    """Files that complete or replace what a particle file says."""

    poses: Path | None = None
    """cryoDRGN's poses.pkl, in place of the particle file's own poses."""

    ctf: Path | None = None
    """cryoDRGN's ctf.pkl, in place of all that the particle file says of the optics."""

    ind: Path | None = None
    """cryoDRGN's ind.pkl, or an .npy: the particles to use, counted from zero; all if left out."""

    passthrough: Path | None = None
    """cryoSPARC's passthrough file, if it is not beside the .cs file."""

    relocate: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """OLD=NEW: what was recorded or is named in the folder OLD is now in NEW. May be given several
    times."""

    def moves(self) -> Any:
        """The folders that were moved, as `cryolatent.data.open_particles` wants them.

        Returns:
            Its `Moves`.
        """
        from cryolatent.data import Moves

        return Moves.parsed(self.relocate)

    def tables(self) -> Any:
        """The files as `cryolatent.data.open_particles` wants them.

        Returns:
            Its `Tables`.
        """
        from cryolatent.data import Tables

        return Tables(**{name: getattr(self, name) for name in TABLES})


@Parameter(name="*", group=Group("Data", sort_key=1))
class ReadingConfig(TablesConfig):
    """How particles are read: the options of `cryolatent.data.open_particles`."""

    datadir: Path | None = None
    """Folder that image names are relative to, if not the particle file's own; the working
    directory if left out."""

    invert_contrast: bool = False
    """Negate the images, for stacks in which particles are dark."""

    shells: Positive | None = None
    """Last Fourier shell used; all below Nyquist if left out."""

    symmetry: str = "C1"
    """Point group, as in RELION (C3, D2, T, O, I ...): every particle is expanded into its
    symmetric copies, so that parts that break the symmetry can be told apart."""

    noise_groups: str = "auto"
    """Which images share their noise level: auto for those of a micrograph, or else of a group; a
    column of the particle file (rlnGroupName, rlnOpticsGroup, ctf/exp_group_id ...); or none for
    one level of all."""

    def reading(self) -> dict[str, Any]:
        """The options of `cryolatent.data.open_particles`.

        Returns:
            Keyword arguments.
        """
        wanted = set(ReadingConfig.model_fields) - {*TABLES, "relocate"}
        made = {"tables": self.tables(), "relocate": self.moves()}
        return self.model_dump(include=wanted) | made


@Parameter(name="*", group=Group("Data", sort_key=1))
class PrepareConfig(TablesConfig):
    """How particles are checked and packed."""

    datadir: Path | None = None
    """Folder that image names are relative to, if not the particle file's own; the working
    directory if left out."""

    invert_contrast: bool | None = None
    """Negate the images, for stacks in which particles are dark. Left out, clearly dark particles
    stop the work."""

    box: Positive | None = None
    """Box to bring the images to, by Fourier cropping; their own if left out."""

    downsample: Annotated[float, Field(ge=1)] | None = None
    """The same as a factor: 2 halves the box and doubles the pixel size."""

    dtype: Literal["float16", "float32"] = "float32"
    """Type of the packed numbers; float16 halves the folder."""

    normalise: Literal["image", "none"] = "image"
    """Bring the background of each image to mean 0 and variance 1, as RELION does, or change no
    value."""

    window: Annotated[float, Field(gt=0, lt=0.99)] | None = None
    """Share of half the box within which images stay whole; they fall to zero at 0.99 of it. No
    window if left out: windows correlate the noise of neighbouring coefficients."""

    particle_radius: Annotated[float, Field(gt=0)] | None = None
    """Radius of the particle, in Å; beyond it is background. 45 % of the box if left out."""

    on_bad: Literal["error", "drop"] = "error"
    """What to do with particles that should not be used: stop and write nothing, or leave them
    out."""

    workers: Positive | None = None
    """Threads; all cores if left out."""

    def packing(self) -> Any:
        """The options as `cryolatent.prepare.packing.pack` wants them.

        Returns:
            Its `Packing`.
        """
        from dataclasses import fields

        from cryolatent.prepare.packing import Packing

        own = {f.name for f in fields(Packing)} & set(PrepareConfig.model_fields)
        known = self.invert_contrast is not None
        return Packing(**self.model_dump(include=own), contrast_known=known)


@Parameter(name="*", group=Group("Data", sort_key=1))
class DataConfig(ReadingConfig):
    """How the particles are read, and what of an image is background."""

    particle_radius: Annotated[float, Field(gt=0)] | None = None
    """Radius of the particle, in Å; beyond it is background. 45 % of the box if left out."""

    def located(self, datadir: Path | None) -> "DataConfig":
        """The same options for use from any folder.

        Args:
            datadir: Folder in which the images were found, if not the particle file's own.

        Returns:
            Options with absolute paths.
        """
        from cryolatent.data.places import absolute_move

        given = {name: getattr(self, name) for name in TABLES}
        paths = {name: path.resolve() for name, path in given.items() if path is not None}
        relocate = tuple(map(absolute_move, self.relocate))
        return self.model_copy(update={"datadir": datadir, "relocate": relocate, **paths})
