"""Decoder, likelihood and posterior together: what a method trains and inference reads."""

from dataclasses import dataclass

import torch

from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.registry import DECODERS, LIKELIHOODS, POSTERIORS, Options
from cryolatent.models.setting import Setting


@dataclass(frozen=True)
class System:
    """The parts that a training joins.

    Args:
        model: Decoder and likelihood.
        posterior: The posterior.
    """

    model: GenerativeModel
    posterior: Posterior

    @property
    def device(self) -> torch.device:
        """Where the parts lie."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device) -> "System":
        """The same parts on another device; they are moved in place.

        Args:
            device: Where parameters and buffers are to lie.

        Returns:
            This system.
        """
        self.model.to(device)
        self.posterior.to(device)
        return self

    def tensors(self) -> dict[str, torch.Tensor]:
        """All parameters and buffers by name.

        Returns:
            Names begin with ``model.`` or ``posterior.``.
        """
        parts = {"model": self.model, "posterior": self.posterior}
        return {
            f"{k}.{name}": t.cpu()
            for k, part in parts.items()
            for name, t in part.state_dict().items()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Set all parameters and buffers.

        Args:
            tensors: What `tensors` gave of a system of the same parts; other names are passed over.
        """
        for key, part in (("model.", self.model), ("posterior.", self.posterior)):
            own = {n[len(key) :]: t for n, t in tensors.items() if n.startswith(key)}
            part.load_state_dict(own)


def assemble(posterior: Options, decoder: Options, likelihood: Options, setting: Setting) -> System:
    """Build the parts from their options.

    The decoder's start depends on the seed alone, so systems that differ in the posterior begin
    with the same decoder.

    Args:
        posterior: Options of the posterior, resolved.
        decoder: Options of the decoder, resolved.
        likelihood: Options of the likelihood, resolved.
        setting: What the parts are made for.

    Returns:
        The parts, at their start.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        built = DECODERS.build(decoder, setting)
        model = GenerativeModel(built, LIKELIHOODS.build(likelihood, setting))
        return System(model, POSTERIORS.build(posterior, setting))
