"""The colors and the font of all pictures and figures; they are known without importing matplotlib."""

from importlib.util import find_spec
from pathlib import Path

FONT = "DejaVu Sans"  # comes with matplotlib, so pictures look alike everywhere

# colors that differ in any color vision: M. Okabe and K. Ito, Color Universal Design (2002, 2008),
# https://jfly.uni-koeln.de/color/; R's grey in place of their yellow, which is too pale for lines on white
BLACK, BLUE, VERMILLION, GREEN, ORANGE = "#000000", "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY_BLUE, GREY = "#CC79A7", "#56B4E9", "#999999"


def font_file() -> str:
    """The file of FONT."""
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    return str(Path(package.origin).with_name("mpl-data") / "fonts/ttf/DejaVuSans.ttf")
