"""Decoders, posteriors, likelihoods and the objective that joins them."""

from cryolatent.models.decoders import Decoder, HartleyDecoder, MlpDecoder, SubspaceDecoder
from cryolatent.models.distributions import (
    Delta,
    DiagonalNormal,
    Distribution,
    FullNormal,
    OneOf,
)
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.likelihood import FourierGaussian, Likelihood
from cryolatent.models.objective import LossTerms, NegativeElbo, Objective, ReportObjective
from cryolatent.models.posteriors import (
    Categorical,
    Encoder,
    ExactGaussian,
    Features,
    Fitted,
    FourierFeatures,
    LookupTable,
    PointTable,
    Posterior,
    SemiAmortized,
)

__all__ = [
    "Categorical",
    "Decoder",
    "Delta",
    "DiagonalNormal",
    "Distribution",
    "Encoder",
    "ExactGaussian",
    "Features",
    "Fitted",
    "FourierFeatures",
    "FourierGaussian",
    "FullNormal",
    "GenerativeModel",
    "HartleyDecoder",
    "Likelihood",
    "LookupTable",
    "LossTerms",
    "MlpDecoder",
    "NegativeElbo",
    "Objective",
    "OneOf",
    "PointTable",
    "Posterior",
    "ReportObjective",
    "SemiAmortized",
    "SubspaceDecoder",
]
