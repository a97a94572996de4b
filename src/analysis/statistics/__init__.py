"""Metrics of runs, estimates with intervals, power; numbers only."""
