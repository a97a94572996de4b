"""The status of a sweep, during and after it."""
