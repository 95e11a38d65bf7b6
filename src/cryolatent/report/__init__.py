"""Findings, tables and figures of analysed runs as one self-contained HTML page."""

from cryolatent.report.page import render

__all__ = ["render"]
