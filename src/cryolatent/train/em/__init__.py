"""Expectation maximisation: exact posteriors, closed-form steps, no learning rates."""
