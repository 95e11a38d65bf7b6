"""The page's own words: what was run, and how to read it."""

from cryolatent.report.formats import decimal, integer
from cryolatent.studies.mnist.judging import POOR, READABLE, Bench
from cryolatent.studies.mnist.measures import CLASSIFIER_NEIGHBOURS, NEIGHBOURS
from cryolatent.studies.mnist.work import FITTED


def lead(source: str, counts: tuple[int, int]) -> str:
    """What was run.

    Args:
        source: What the digits are.
        counts: Digits trained on and kept aside.

    Returns:
        A paragraph.
    """
    return (
        "Appendix B of the technical report by Edelberg and Lederman (2023) repeats its "
        "experiments on handwritten digits, where everyone can see what a picture should show. "
        "Here each is a declared preset and each judgement a number, and what the appendix left "
        f"out is added. The digits are {source}: {integer(counts[0])} to train on, "
        f"{integer(counts[1])} kept aside. Posteriors, twins, objective and trainer are those that "
        "particles go through."
    )


def notes(bench: Bench) -> tuple[tuple[str, str], ...]:
    """How numbers and verdicts are made.

    Args:
        bench: All outcomes.

    Returns:
        Terms and explanations.
    """
    vae = bench.outcomes["vae"].measures
    mean = decimal(vae[0].mean_image, 1) if vae else "206"
    return (
        (
            "Settings",
            "Encoder of three hidden layers of 256 (text) with two outputs per dimension, decoder "
            "of two hidden layers of 256, ReLU, sigmoid output, two latent dimensions, Adam at "
            "0.01, batches of 128, 100 epochs, binary cross entropy plus KL summed over the batch. "
            "Tables: Adam at 0.01 on the rows of the batch, from zero means and log variances of "
            "−8.",
        ),
        (
            "Text and code",
            "Where the appendix and the published code disagree both are presets and say whose "
            "reading they are: layers of the encoder (three, or two), optimiser of the table's "
            "rows (Adam as for the rest, or plain gradient steps), mean of the noise (zero, or one "
            "half), latent dimensions (two, or ten). The published code of the noise experiment "
            "also trains on the noisy pictures with a squared error; the text's order, noise after "
            "the training, is kept here.",
        ),
        (
            "Sums and nats",
            "The report's loss is summed over a batch, so its KL of about 660 is 5.2 nats per "
            "picture and its 950 is 7.4. Terms of a batch are means over the last epoch, as in the "
            "published code; terms per picture are evaluated after the training. Grey values count "
            "as shares of white, so the cross entropy is no normalised density.",
        ),
        (
            "Verdicts",
            "Agrees or differs if the whole 95 % interval lies on one side of the limit; "
            "inconclusive if the limit lies within it; measured where the appendix claims nothing. "
            f"Most: a share above {READABLE:g}.",
        ),
        (
            "Intervals",
            "Student's t over seeds. The scatter is that of the experiment and of what it is "
            "compared with: one seed borrows it from the VAE or the table, which have several. "
            "Trainings that are stuck count.",
        ),
        (
            "Pictures",
            "Of the seed that explains its digits best. Loss curves are those of all seeds.",
        ),
        (
            "Stuck",
            f"A training that gains less than {POOR:g} of what the best training gains over the "
            f"mean picture ({mean} nats), the experiment's or that which it is compared with. "
            "Diverged: a value that is not finite.",
        ),
        (
            "Digit told by neighbours",
            f"Share of pictures whose digit the vote of {NEIGHBOURS} nearest latents tells; 0.1 by "
            "chance.",
        ),
        (
            "Right reconstructions",
            f"A vote of the {CLASSIFIER_NEIGHBOURS} originals nearest in pixels reads the decoded "
            "posterior means. It is sure of clear pictures and undecided on blurred ones, as an "
            "eye is; of originals that it has not seen it reads about 19 in 20.",
        ),
        (
            "Displacement",
            "The distance between the posterior means of a picture and of its moved self, over the "
            "median distance of random pairs: 1 if they are as far apart as any two pictures.",
        ),
        (
            "Amortisation gap",
            f"On {FITTED} held-out pictures: the bound of posteriors fitted one by one with the "
            "decoder frozen, from the encoder's own, from the prior and from the trained latent "
            "that explains the picture best, less the encoder's bound. A fit that misses the best "
            "place makes it too small.",
        ),
    )
