"""Run folders as tidy tables: a row per run, per epoch, per test image."""
