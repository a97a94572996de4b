"""How fast it is: our data path and loop against the bare work and against the way the reports did it."""
