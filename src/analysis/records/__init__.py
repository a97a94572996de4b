"""From run folders to tidy tables: a row a run, an epoch, an image."""
