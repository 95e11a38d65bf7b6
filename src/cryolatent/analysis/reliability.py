"""How far each particle can be relied on, in one number."""

import numpy as np
from jaxtyping import Float


def reliability(
    probability: Float[np.ndarray, " n"] | None = None,
    shares: Float[np.ndarray, "n k"] | None = None,
    certainty: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " n"] | None:
    """The probability to be a particle, times how much is known of what it is.

    ``p (1 - H(r) / log K)`` with the entropy H of the probabilities r of K states; of a run without
    states ``p (1 - tr Σ / d)``, the share of the prior's variance that is gone. What is not known
    counts as one.

    Args:
        probability: That each is a particle and no junk.
        shares: Probabilities of states; one state tells nothing apart and is passed over.
        certainty: What is known of a continuous latent, from 0 to 1.

    Returns:
        Numbers from 0, nothing to rely on, to 1; None if nothing of all this is known.
    """
    known = certainty
    if shares is not None and shares.shape[1] > 1:
        from scipy.special import entr

        known = 1 - entr(shares.astype(float)).sum(axis=1) / np.log(shares.shape[1])
    parts = [part for part in (probability, known) if part is not None]
    return np.prod([np.clip(part, 0, 1) for part in parts], axis=0) if parts else None
