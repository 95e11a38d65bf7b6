"""Formulas of the documentation's site as MathML, which browsers draw without a script."""

from latex2mathml.converter import convert


def block(source: str, *_: object, **__: object) -> str:
    """A fenced block of LaTeX as MathML (the form of a formatter of pymdownx.superfences)."""
    return f'<div class="formula">{convert(source, display="block")}</div>'
