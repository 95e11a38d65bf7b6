"""The options of every decoder, without PyTorch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cryolatent.models.registry import DECODERS, Options, Shared

Positive = Annotated[int, Field(ge=1)]
HOME = "cryolatent.models.decoders"


class DecoderOptions(Options):
    """What every decoder has; an own decoder's options derive from this."""

    default_likelihood: ClassVar[str] = "gaussian"
    """What compares what the decoder renders with images."""

    renders: ClassVar[bool] = True
    """Whether there is a decoder at all."""


class MlpOptions(DecoderOptions):
    """A coordinate network."""

    decoder_width: Positive = 256
    """Units per layer of the decoder."""

    decoder_layers: Positive = 3
    """Hidden layers of the decoder."""

    decoder_encoding: Literal["geom_lowf", "gaussian", "none"] = "geom_lowf"
    """How a point of Fourier space enters the decoder: sines and cosines of geometrically spaced
    wavelengths, random Fourier features, or its coordinates."""

    decoder_residual: bool = True
    """Whether each hidden layer of the decoder is added to its input."""

    decoder_output: Literal["fourier", "hartley"] = "fourier"
    """What the decoder's network gives: the complex transform on one half of Fourier space, or the
    real Hartley transform on all of it, at twice the cost."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers in the decoder's products; bfloat16 is faster where the processor has instructions
    for it, and slower elsewhere."""


class LatticeOptions(DecoderOptions):
    """Decoders that read slices from volumes."""

    interpolation: Literal["trilinear", "nearest"] | None = None
    """How slices are read from the volumes; if left out, nearest where a method solves for the
    volumes voxel by voxel, and else trilinear."""

    def resolved(self, shared: Shared) -> "LatticeOptions":
        """How slices are read."""
        chosen = self.interpolation or ("nearest" if shared.solves_volumes else "trilinear")
        return self.model_copy(update={"interpolation": chosen})


class SubspaceOptions(LatticeOptions):
    """A mean volume and a few others, weighted by functions of z."""

    coefficients: Literal["linear", "polynomial", "fourier", "network"] = "linear"
    """Weights of the volumes as functions of z."""


class VolumesOptions(LatticeOptions):
    """One volume per state."""

    coefficients: ClassVar[str] = "shares"
    """Weights of the volumes: the shares of the states themselves."""


class PixelOptions(DecoderOptions):
    """A network that gives all pixels of a picture at once."""

    default_likelihood: ClassVar[str] = "bernoulli"

    decoder_width: Positive = 256
    """Units per layer of the decoder."""

    decoder_layers: Positive = 3
    """Hidden layers of the decoder."""


class NoDecoderOptions(DecoderOptions):
    """No decoder: latents alone were imported."""

    trains: ClassVar[bool] = False
    renders: ClassVar[bool] = False


class CryodrgnDecoderOptions(DecoderOptions):
    """The decoder of a run of cryoDRGN."""

    trains: ClassVar[bool] = False

    decoder_width: Positive = 256
    """Units per layer of the decoder."""

    decoder_layers: Positive = 3
    """Hidden layers of the decoder."""

    decoder_encoding: Literal["gaussian", "geom_lowf", "linear_lowf"] = "gaussian"
    """How a point of Fourier space enters the decoder."""

    decoder_frequencies: Positive | None = None
    """Frequencies per axis of the encoding; half the box if left out."""

    decoder_output: Literal["fourier", "hartley"] = "fourier"
    """What the decoder's network gives: the complex transform on one half of Fourier space, or the
    real Hartley transform."""

    decoder_region: Literal["ball", "cube", "planes"] = "ball"
    """Where in Fourier space volumes are drawn: in the ball within the box, everywhere, or on each
    plane across z in the disc of the largest whole radius within that ball."""


DECODERS.declare("mlp", MlpOptions, f"{HOME}.mlp:CoordinateDecoder")
DECODERS.declare("subspace", SubspaceOptions, f"{HOME}.subspace:SubspaceDecoder")
DECODERS.declare("volumes", VolumesOptions, f"{HOME}.subspace:SubspaceDecoder")
DECODERS.declare("pixel", PixelOptions, f"{HOME}.pixel:PixelDecoder")
DECODERS.declare("none", NoDecoderOptions, f"{HOME}.base:Decoder")
DECODERS.declare("cryodrgn", CryodrgnDecoderOptions, "cryolatent.models.cryodrgn:CryodrgnDecoder")
