"""segsweep: sweeps of segmentation settings whose answers can be trusted."""
