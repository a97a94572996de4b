"""The sample several times over, as hard links: for speed, not for scores.

campaign_repeat.py <sample> <target> <times> [<trainval images> <test images>]
"""

import os
import sys
from pathlib import Path

source, target, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
limits = [int(word) for word in sys.argv[4:6]] or [10**9, 10**9]
for folder in ("images", "annotations/trimaps"):
    (target / folder).mkdir(parents=True, exist_ok=True)
for name, most in zip(("trainval", "test"), limits, strict=False):
    lines = [line for line in (source / f"annotations/{name}.txt").read_text().splitlines() if line.strip()]
    lines = lines[:: max(1, len(lines) // most)][:most]
    written = []
    for number in range(times if name == "trainval" else 1):
        for line in lines:
            stem, _, rest = line.partition(" ")
            new = stem if number == 0 else f"{stem}_{number}"
            written.append(f"{new} {rest}")
            for folder, ending in (("images", "jpg"), ("annotations/trimaps", "png")):
                link = target / folder / f"{new}.{ending}"
                if not link.exists():
                    try:
                        os.link(source / folder / f"{stem}.{ending}", link)
                    except OSError:
                        link.symlink_to((source / folder / f"{stem}.{ending}").resolve())
    (target / f"annotations/{name}.txt").write_text("\n".join(written) + "\n")
