"""What every wing builds on: errors, files, locks, the config, ids and the record of a run."""
