import math
from itertools import combinations

import pytest
import torch

from builders import DISC, FLAT, random_batch
from cryolatent.models import FourierGaussian
from cryolatent.physics import CoefficientSubset, FourierDisc, images_to_disc


def likelihood(noise: torch.Tensor) -> FourierGaussian:
    return FourierGaussian(DISC, noise, FLAT.power)


def test_density_is_that_of_independent_real_and_imaginary_parts() -> None:
    noise = torch.linspace(0.5, 2, DISC.radius + 1)
    images, predicted = torch.randn(2, 3, DISC.size, dtype=torch.complex64)
    part = torch.distributions.Normal(0.0, (noise[DISC.shells] / 2).sqrt())
    residual = images - predicted
    expected = -(part.log_prob(residual.real) + part.log_prob(residual.imag)).sum(-1)
    torch.testing.assert_close(likelihood(noise).negative_log(images, predicted), expected)


def test_a_growing_noise_does_not_look_like_progress() -> None:
    images = torch.randn(50, DISC.size, dtype=torch.complex64)
    losses = [
        likelihood(scale * FLAT.power).negative_log(images, torch.zeros_like(images)).mean()
        for scale in (0.5, 1.0, 2.0, 8.0)
    ]
    assert losses.index(min(losses)) == 1


def test_mean_squared_error_is_that_of_real_hartley_coefficients() -> None:
    image = torch.randn(16, 16, dtype=torch.double)
    coefficients = images_to_disc(image, DISC)
    transform = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image), norm="ortho"))
    hartley = transform.real - transform.imag
    axis = torch.arange(16) - 8
    radius = torch.hypot(axis[:, None].double(), axis.double()).round()
    inside = hartley[(radius >= 1) & (radius <= DISC.radius)]
    assert inside.numel() == likelihood(FLAT.power).degrees_of_freedom
    error = likelihood(FLAT.power).mean_squared_error(
        coefficients[None], torch.zeros_like(coefficients)[None]
    )
    assert float(error) == pytest.approx(float(inside.square().mean()), rel=1e-6)


def test_refit_finds_the_noise_of_the_residuals() -> None:
    noise = torch.linspace(0.5, 2, DISC.radius + 1)
    fitted = likelihood(FLAT.power)
    for _ in range(4):
        residual = torch.randn(1000, DISC.size, dtype=torch.complex64)
        fitted.observe(residual * noise[DISC.shells].sqrt(), torch.zeros_like(residual))
    fitted.refit()
    count = 4000 * torch.bincount(DISC.shells)[1:]
    assert ((fitted.noise_spectrum[1:] / noise[1:] - 1).abs() < 5 / count.sqrt()).all()


def test_predict_applies_transfer_function_and_displacement() -> None:
    batch = random_batch(3)
    rendered = torch.randn(3, DISC.size, dtype=torch.complex64)
    predicted = likelihood(FLAT.power).predict(rendered, batch)
    k, t = DISC.cycles_per_pixel, batch.poses.shifts_angstrom[1] / 4.0
    for j in (0, 7):
        phase = -2 * math.pi * float(k[j] @ t)
        expected = (
            rendered[1, j] * batch.ctf.evaluate(k)[1, j] * complex(math.cos(phase), math.sin(phase))
        )
        torch.testing.assert_close(predicted[1, j], expected)


def test_subsets_estimate_the_whole_without_bias() -> None:
    """Averaged over all subsets of three coefficients, misfits and normaliser are the whole's."""
    disc = FourierDisc(8, 2)
    noise = torch.tensor([1.0, 0.5, 2.0])
    density = FourierGaussian(disc, noise, torch.ones(3))
    batch = random_batch(2, disc=disc)
    rendered = torch.randn(2, disc.size, dtype=torch.complex64)
    sums = {"negative_log": torch.zeros(2), "mean_squared_error": torch.zeros(2)}
    choices = list(combinations(range(disc.size), 3))
    for choice in choices:
        subset = CoefficientSubset(torch.tensor(choice), disc.size / 3)
        part = batch.comparing(subset)
        predicted = density.predict(rendered[:, subset.index], part)
        for name in sums:
            sums[name] += getattr(density, name)(part.images, predicted, subset) / len(choices)
    predicted = density.predict(rendered, batch)
    for name, total in sums.items():
        torch.testing.assert_close(total, getattr(density, name)(batch.images, predicted))


def test_refit_from_subsets_finds_the_noise_and_leaves_unseen_shells_alone() -> None:
    noise = torch.linspace(0.5, 2, DISC.radius + 1)
    fitted = likelihood(3 * FLAT.power)
    inside = torch.nonzero(DISC.shells <= 3)[:, 0]
    for _ in range(20):
        index = inside[torch.randperm(len(inside))[:6]]
        residual = torch.randn(2000, 6, dtype=torch.complex64) * noise[DISC.shells[index]].sqrt()
        subset = CoefficientSubset(index, len(inside) / 6)
        fitted.observe(residual, torch.zeros_like(residual), subset)
    fitted.refit()
    torch.testing.assert_close(fitted.noise_spectrum[1:4], noise[1:4], rtol=0.05, atol=0)
    assert fitted.noise_spectrum[4:].tolist() == [3.0, 3.0]
