"""The options of likelihoods and objectives, without PyTorch."""

from typing import Annotated, ClassVar

from pydantic import Field

from cryolatent.models.registry import LIKELIHOODS, OBJECTIVES, Options, Shared

HOME = "cryolatent.models"


class LikelihoodOptions(Options):
    """What every likelihood has."""


class GaussianOptions(LikelihoodOptions):
    """Gaussian noise in Fourier space, one variance per shell."""

    contrast_spread: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Standard deviation of the particles' contrast about 1, which is averaged over."""


class BernoulliOptions(LikelihoodOptions):
    """Pixels that are on or off."""


class ObjectiveOptions(Options):
    """What every objective has."""

    averages_contrast: ClassVar[bool] = True
    """Whether the particles' contrast is averaged over as the likelihood says."""

    beta: Annotated[float, Field(ge=0)] | None = None
    """Weight of the KL term; 1 for elbo and 1 / z_dim for report if left out."""

    beta_warmup: Annotated[int, Field(ge=0)] | None = None
    """Epochs over which the KL term's weight rises to beta; if left out, a third of all and at most
    10 for elbo, none for report."""


class ElboOptions(ObjectiveOptions):
    """Evidence lower bound, with fitted noise where there is any."""

    def resolved(self, shared: Shared) -> "ElboOptions":
        """The bound itself, after a warm-up."""
        beta = 1.0 if self.beta is None else self.beta
        warmup = min(10, shared.epochs // 3) if self.beta_warmup is None else self.beta_warmup
        return self.model_copy(update={"beta": beta, "beta_warmup": warmup})


class SummedElboOptions(ElboOptions):
    """The same summed over the batch."""


class ReportOptions(ObjectiveOptions):
    """The report's mean squared error."""

    averages_contrast: ClassVar[bool] = False

    def resolved(self, shared: Shared) -> "ReportOptions":
        """The report's weight, from the start."""
        beta = 1.0 / shared.z_dim if self.beta is None else self.beta
        return self.model_copy(update={"beta": beta, "beta_warmup": self.beta_warmup or 0})


LIKELIHOODS.declare("gaussian", GaussianOptions, f"{HOME}.likelihood:FourierGaussian")
LIKELIHOODS.declare("bernoulli", BernoulliOptions, f"{HOME}.likelihood:Bernoulli")
OBJECTIVES.declare("elbo", ElboOptions, f"{HOME}.objective:NegativeElbo")
OBJECTIVES.declare("summed-elbo", SummedElboOptions, f"{HOME}.objective:SummedElbo")
OBJECTIVES.declare("report", ReportOptions, f"{HOME}.objective:ReportObjective")
