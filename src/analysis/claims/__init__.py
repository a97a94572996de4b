"""Hypotheses about settings: those of claim files and of factors, with their verdicts, and the ranking of settings."""
