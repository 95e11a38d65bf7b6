"""The digits of appendix B of the technical report YALEU/TR-1565, each experiment a preset."""
