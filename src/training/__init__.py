"""Training: losses, metrics, learning-rate schedules, checkpoints and the loop that uses them."""
