"""The page's own words: what was run, and how to read it."""

from cryolatent.report.formats import decimal, integer
from cryolatent.runs.finding import Estimate
from cryolatent.simulate.truth import Truth
from cryolatent.studies.reproduce.judging import AGREEMENT, APART, CONSENSUS, MARGIN, POWER, Bench
from cryolatent.studies.reproduce.scales import Scale
from cryolatent.studies.reproduce.work import Particles


def lead(scale: Scale, particles: Particles, truth: Truth | None, best: Estimate | None) -> str:
    """What was run.

    Args:
        scale: Its size.
        particles: The data.
        truth: What is known of them.
        best: The oracle's adjusted Rand index.

    Returns:
        A paragraph.
    """
    what = (
        "The technical report by Edelberg and Lederman (2023) replaced the encoder of a cryo-EM "
        "VAE by tables and by encoders that are shown the wrong image, and judged by eye. Here "
        "each of its experiments is a declared preset and each judgement a number. "
    )
    if truth is None or best is None:
        return f"{what}The particles are those of {particles.star.name}; their truth is not known."
    size = scale.simulation
    return (
        f"{what}The data are the built-in double: {integer(len(truth.ids))} simulated particles of "
        f"{size.box} × {size.box} pixels in {len(truth.state_names)} states, signal-to-noise ratio "
        f"{size.snr:g}, orientations wrong by {size.angle_error:g}° and displacements by "
        f"{size.shift_error:g} pixel; {decimal(100 * scale.hold_out, 0)} % of them are kept aside. "
        f"Someone who knows the true volumes reaches an adjusted Rand index of "
        f"{decimal(best.value, 3)}."
    )


def notes(scale: Scale, benches: dict[str, Bench]) -> tuple[tuple[str, str], ...]:
    """How numbers and verdicts are made.

    Args:
        scale: What was run.
        benches: All outcomes, by decoder.

    Returns:
        Terms and explanations.
    """
    yardsticks = ", ".join(
        f"{decimal(bench.yardstick, 3)} ({name})" for name, bench in benches.items()
    )
    return (
        (
            "Verdicts",
            "Agrees or differs if the whole 95 % interval lies on one side of the limit; "
            "inconclusive if the limit lies within it; underpowered if the baseline itself does "
            f"not reach {POWER:g} of the oracle (without a truth: if its own seeds share less than "
            f"{AGREEMENT:g} of their neighbours beyond chance); measured where the report claims "
            "nothing.",
        ),
        (
            "Intervals",
            "Student's t over seeds. The scatter is that of the experiment and of what it is "
            "compared with; one seed borrows that of all experiments with several whose volumes "
            "are expected to differ. Displacements: the union of the seeds' bootstrap intervals "
            "over particles.",
        ),
        (
            "Limits",
            f"Alike: not lower by more than {MARGIN:g} of the baseline's quality ({yardsticks}). "
            f"Consensus: recovered share below {CONSENSUS:g}. Moved: displacement above {APART:g} "
            "of the distance of random pairs.",
        ),
        (
            "Recovered share",
            "Slope of the regression of the states' mean decoded volumes on the true ones: 1 if "
            "every particle's volume shows its own state, 0 for one consensus or for latents that "
            "have nothing to do with the particles. Its null permutes the states.",
        ),
        (
            "FSC area",
            "Area under the Fourier shell correlation of each particle's decoded volume with its "
            "true one, FSC(0) = 1, trapezoid over shells up to D/2 − 1, divided by D. All shells "
            "count alike, so a good consensus scores high: read it beside the index.",
        ),
        (
            "ELBO, held out",
            "Posteriors of particles that no training saw: an encoder reads them, a table's rows "
            "are fitted with the decoder frozen. Where memorising is all that an encoder did, this "
            "falls far below the trained particles' bound.",
        ),
        (
            "Power",
            f"The scale is {scale.name}. The report trained for 50 epochs (tables: 100) on 131,899 "
            "particles of 128 × 128 pixels with eight latent dimensions. Steps are printed with "
            "every row: an experiment that needs many, such as memorising noise, may differ here "
            "and agree there.",
        ),
        (
            "Two decoders",
            "The coordinate network is the report's. The subspace decoder, a few volumes weighted "
            "by the latent, costs much less, so that every experiment of the report has several "
            "seeds.",
        ),
    )
