from .data import ParticleStack, open_particles
from .models import DiagonalNormal, Posterior
from .models.posteriors.options import PosteriorOptions
from .models.registry import register
from .models.setting import Setting
from .notebook import OpenRun, fit, open_run

__version__: str
__all__ = [
    "DiagonalNormal",
    "OpenRun",
    "ParticleStack",
    "Posterior",
    "PosteriorOptions",
    "Setting",
    "fit",
    "open_particles",
    "open_run",
    "register",
]
