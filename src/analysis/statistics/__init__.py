"""From arrays of scores to estimates, intervals and p-values."""
