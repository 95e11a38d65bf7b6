import math

import pytest
import torch

from builders import DISC, FLAT, random_batch
from cryolatent.models import FourierGaussian
from cryolatent.physics import images_to_disc


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
