"""The command line: overrides, the entry to Hydra, Ctrl-C and the terminal."""
