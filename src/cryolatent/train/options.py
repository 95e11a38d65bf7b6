"""The options of every method of training, without PyTorch."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cryolatent.models.registry import METHODS, Options

Positive = Annotated[int, Field(ge=1)]


class MethodOptions(Options):
    """What every method has; an own method's options derive from this."""

    takes_objective: ClassVar[bool] = False
    """Whether it minimises one of the objectives."""

    solves_volumes: ClassVar[bool] = False
    """Whether it solves for volumes in closed form, and so needs a posterior in closed form."""

    @property
    def known_errors(self) -> dict[str, float]:
        """Given widths of errors of recorded ``rotations`` (degrees) and ``shifts`` (pixels)."""
        return {}


class GradientOptions(MethodOptions):
    """Stochastic gradient descent."""

    takes_objective: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"epochs", "batch_size", "learning_rate"})

    epochs: Positive = 30
    """Passes over the particles."""

    batch_size: Positive = 8
    """Particles per step."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Adam's learning rate for decoder and encoder."""

    coefficient_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the Fourier coefficients that a step compares, drawn anew for each and weighted up:
    cheaper steps, noisier gradients."""

    marching: Annotated[int, Field(ge=0)] = 0
    """Epochs over which the last shell compared grows from a quarter of all to all; 0 compares all
    shells from the start."""

    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Minutes between checkpoints within an epoch; there is always one after each epoch."""


class EmOptions(MethodOptions):
    """Expectation maximisation: exact posteriors, volumes solved for; no learning rate."""

    solves_volumes: ClassVar[bool] = True
    common: ClassVar[frozenset[str]] = frozenset({"mask", "pose_search", "trust"})

    search_shells: Positive = 12
    """Last shell of the search for a subspace; the volumes are then refined to all shells."""

    pose_search: Literal["recorded", "local", "global"] = "local"
    """Where the particles' poses are looked for: nowhere but where they are recorded; near there,
    by an error that is learned; or everywhere, for data in which some recorded orientations have
    nothing to do with the image. (Without recorded poses: cryolatent abinitio.)"""

    poses_from: Path | None = None
    """Finished run on the same particle file, which doubted the same, from whose refined poses,
    contrasts and probabilities the search begins; the priors stay about what is recorded."""

    trust: tuple[Literal["all", "rotations", "shifts", "contrast", "particles"], ...] | None = None
    """What is believed as it is recorded; else how wrong it is is learned: poses are integrated out
    and refined, contrasts too, and images that show no particle are told apart."""

    angle_error: Annotated[float, Field(gt=0, le=10)] | None = None
    """Standard deviation of the errors of recorded rotations about each axis, in degrees, if it is
    known; learned if left out."""

    shift_error: Annotated[float, Field(gt=0, le=10)] | None = None
    """Standard deviation of the errors of recorded shifts along each axis, in pixels, if it is
    known; learned if left out."""

    starts: Positive = 2
    """Random starts at the lowest shells; the best evidence is kept."""

    hold_out: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of the particles kept aside to choose the number of dimensions and states."""

    memory: Annotated[float, Field(ge=0)] | None = None
    """GB of memory for the particles' filtered images; half of what is free if left out. If they
    need more, they are kept in a file in the run's folder, which is gone when the run ends."""

    mask: Path | None = None
    """Solvent mask (.mrc, values 0 to 1, box and pixel size of the particles); made from the
    consensus if left out."""

    focus_mask: Path | None = None
    """Mask outside which volumes may not differ from the consensus."""

    @model_validator(mode="after")
    def _searchable(self) -> "EmOptions":
        trusted = {"all", "rotations", "shifts"} & set(self.trust or ())
        if self.pose_search == "global" and trusted:
            raise ValueError(
                f"trust {', '.join(sorted(trusted))} with pose search global: expected poses that "
                "are not trusted"
            )
        return self

    @property
    def known_errors(self) -> dict[str, float]:
        """Widths that are given and so not learned."""
        given = {"rotations": self.angle_error, "shifts": self.shift_error}
        return {name: value for name, value in given.items() if value is not None}


class ImportedMethodOptions(MethodOptions):
    """Another program's training, which cannot be continued here."""

    trains: ClassVar[bool] = False


METHODS.declare("gradient", GradientOptions, "cryolatent.train.gradient:Gradient")
METHODS.declare("em", EmOptions, "cryolatent.train.em.driver:ExpectationMaximisation")
METHODS.declare("imported", ImportedMethodOptions, "cryolatent.train.method:Method")
