"""segsweep's own sweeper and launchers; Hydra finds plugins only in packages under hydra_plugins."""
