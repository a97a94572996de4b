"""segsweep: sweeps of segmentation settings whose answers can be trusted."""

import sys
from pathlib import Path

if Path(sys.argv[0]).name.startswith("segsweep-"):  # an installed command, whose imports take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()
