"""A file of a run's network that runs elsewhere: made, described and checked."""
