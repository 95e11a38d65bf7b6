"""Decoders: latents to slices and volumes, one file per architecture."""

from cryolatent.models.decoders.base import Decoder
from cryolatent.models.decoders.mlp import HartleyDecoder, MlpDecoder
from cryolatent.models.decoders.pixel import PixelDecoder
from cryolatent.models.decoders.subspace import SubspaceDecoder

__all__ = ["Decoder", "HartleyDecoder", "MlpDecoder", "PixelDecoder", "SubspaceDecoder"]
