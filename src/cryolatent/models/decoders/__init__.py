"""Decoders: latents to slices and volumes, one file per architecture."""

from cryolatent.models.decoders.base import Decoder
from cryolatent.models.decoders.mlp import MlpDecoder

__all__ = ["Decoder", "MlpDecoder"]
