"""The description of a data set as a table and as figures; its numbers come from src/data/describe.py."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from src.display.figure_style import BLUE, SMALL, VERMILLION, in_style, label_rows, new_figure, saved
from src.display.text import plain_table, write_csv

FORMATS = dict.fromkeys(("under_512", "foreground", "pet", "background", "border", "ignored"), "{:.1%}")
FORMATS |= {"aspect": "{:.2f}", "width": "{:.0f}", "height": "{:.0f}"}
QUARTILES = (0.25, 0.5, 0.75)
SPECIES_COLORS = {"cat": BLUE, "dog": VERMILLION}


def write_description(images: pd.DataFrame, groups: pd.DataFrame, folder: Path) -> list[str]:
    """Writes images.csv, groups.csv, description.txt and figures into `folder`; returns the text's lines.

    `images` has a row per image, `groups` one per group of them. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "images.csv", images)
    write_csv(folder / "groups.csv", groups)
    lines = description_lines(groups)
    (folder / "description.txt").write_text("\n".join(lines) + "\n")
    saved(draw_distributions(images), folder, "distributions")
    if images["breed"].notna().any():
        saved(draw_breeds(images), folder, "foreground_by_breed")
    return lines


def description_lines(groups: pd.DataFrame) -> list[str]:
    """The groups as a table with a line that explains its columns."""
    columns = {name: [FORMATS.get(name, "{}").format(value) for value in groups[name]] for name in map(str, groups)}
    return [
        *plain_table(columns, set(columns) - {"group"}, {}, width=200),
        "",
        "width, height, aspect (width / height): medians; smallest, largest: longer side in pixels; under_512: images",
        "whose longer side is under 512 pixels; foreground: mean share of what is not background, of the pixels that",
        "count; pet, background, border, ignored: mean shares of all pixels",
    ]


def draw_distributions(images: pd.DataFrame) -> Figure:
    """Sizes, aspect, share of foreground and shares of the trimap's classes, in four panels."""
    with in_style():
        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        (sizes, aspect), (foreground, classes) = figure.subplots(2, 2)
        sizes.scatter(images["width"], images["height"], s=6, alpha=0.3, color=BLUE, linewidths=0)
        sizes.set(xlabel="width (pixels)", ylabel="height (pixels)")
        aspect.hist(images["aspect"], bins=30, color=BLUE)
        aspect.set(xlabel="aspect (width / height)", ylabel="images")
        foreground.hist(images["foreground"].dropna().astype(float), bins=20, range=(0, 1), color=BLUE)
        foreground.set(xlabel="share of foreground", ylabel="images")
        names = ["pet", "border", "background", "ignored"]
        classes.boxplot([images[name] for name in names], tick_labels=names, flierprops={"markersize": 2})
        classes.set(ylabel="share of pixels", ylim=(0, 1))
    return figure


def draw_breeds(images: pd.DataFrame) -> Figure:
    """The median share of foreground of each breed with its quartiles, the largest on top."""
    named = images.dropna(subset=["breed", "foreground"])
    breeds = [(name, group["foreground"].astype(float).quantile(QUARTILES)) for name, group in named.groupby("breed")]
    breeds.sort(key=lambda item: -item[1][0.5])
    species = dict(zip(named["breed"], named["species"], strict=True))
    figure, ax = new_figure(height=0.8 + 0.16 * len(breeds))
    with in_style():
        for row, (name, quartiles) in enumerate(breeds):
            color = SPECIES_COLORS[species[name]]
            ax.plot([quartiles[0.25], quartiles[0.75]], [row, row], color=color, linewidth=1)
            ax.plot(quartiles[0.5], row, "o", color=color)
        label_rows(ax, [str(name).replace("_", " ") for name, _ in breeds], "share of foreground")
        ax.tick_params(axis="y", labelsize=SMALL - 1)
        ax.set_title("median and quartiles; blue: cats, red: dogs", fontsize=SMALL)
    return figure
