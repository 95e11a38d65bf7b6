"""Decoders, posteriors, likelihoods and the objective that joins them."""

from cryolatent.models.decoders import Decoder, HartleyDecoder, MlpDecoder, SubspaceDecoder
from cryolatent.models.distributions import DiagonalNormal, Distribution, FullNormal, OneOf
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.likelihood import FourierGaussian, Likelihood
from cryolatent.models.objective import LossTerms, NegativeElbo, Objective, ReportObjective
from cryolatent.models.posteriors import (
    Categorical,
    Encoder,
    ExactGaussian,
    Features,
    FourierFeatures,
    LookupTable,
    Posterior,
)

__all__ = [
    "Categorical",
    "Decoder",
    "DiagonalNormal",
    "Distribution",
    "Encoder",
    "ExactGaussian",
    "Features",
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
    "Posterior",
    "ReportObjective",
    "SubspaceDecoder",
]
