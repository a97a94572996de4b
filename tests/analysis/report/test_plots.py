"""What the plots of a sweep show, worked out by hand; that they fit, look alike everywhere and repeat byte for byte."""

import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from src.analysis.report.plots import curves, dots, effects, paired, parallel, rows_height
from src.display.figure_style import COLUMN_WIDTH, LOOKS, legend_height, new_figure, saved
from tests.conftest import PROJECT

NAN = float("nan")
LONG = [f"{letter * 4}_resnet34_unet_cbam, flip_jitter_soft" for letter in "abcdefgh"]  # 41 characters each
HOSTILE = ["$x_{1}$ \\frac{", "_hidden", "<script>&\"'</script>", "a\x00b\x1b[31m\nc", "100 % of $5", "^{", "…×–", " "]


def epochs_of(values, column="valid_dice"):
    """A row for each value; `values`: setting -> for each seed the values from epoch 1 on."""
    return pd.DataFrame(
        [
            {"setting": setting, "seed": seed, "epoch": epoch, column: value}
            for setting, seeds in values.items()
            for seed, run in enumerate(seeds)
            for epoch, value in enumerate(run, start=1)
        ]
    )


def settings_of(names, **columns):
    rows = len(names)
    table = {
        "setting": names,
        "mean": np.linspace(0.90, 0.93, rows),
        "low": np.linspace(0.89, 0.92, rows),
        "high": np.linspace(0.91, 0.94, rows),
        "per_seed": [[0.9, 0.9, 0.92]] * rows,
    }
    return pd.DataFrame(table | columns)


def effects_of(names, verdicts=("better", "worse", "undecided")):
    verdicts = [verdicts[row % len(verdicts)] for row in range(len(names))]
    return pd.DataFrame({"comparison": names, "effect": 0.5, "low": -0.25, "high": 1.25, "verdict": verdicts})


def drawn(plot, *data, height=2.6):
    """A new figure of `plot`, laid out."""
    figure, ax = new_figure(COLUMN_WIDTH, height)
    assert plot(ax, *data) is ax
    figure.draw_without_rendering()
    return figure, ax


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []


def notes(ax):
    return [text.get_text() for text in ax.texts]


def test_a_line_is_the_mean_over_seeds_and_its_band_goes_from_the_smallest_to_the_largest():
    _, ax = drawn(curves, epochs_of({"unet": [[0.2, 0.4, 0.5], [0.4, 0.8, 0.5]]}), "valid_dice")
    (line,), (band,) = ax.lines, ax.collections
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata() == pytest.approx([0.3, 0.6, 0.5])
    corners = {tuple(point.round(6)) for point in band.get_paths()[0].vertices}
    assert corners == {(1, 0.2), (1, 0.4), (2, 0.4), (2, 0.8), (3, 0.5)}


def test_a_single_seed_is_a_line_without_a_band():
    _, ax = drawn(curves, epochs_of({"unet": [[0.2, 0.4]]}), "valid_dice")
    assert (len(ax.lines), len(ax.collections)) == (1, 0)


def test_settings_keep_the_order_in_which_they_come():
    _, ax = drawn(curves, epochs_of({"unet": [[0.2, 0.4]], "plain": [[0.3, 0.5]], "cbam": [[0.1, 0.2]]}), "valid_dice")
    assert legend_texts(ax) == ["unet", "plain", "cbam"]
    assert [line.get_ydata()[0] for line in ax.lines] == [0.2, 0.3, 0.1]
    assert [line.get_color() for line in ax.lines] == [look.color for look in LOOKS[:3]]


def test_settings_differ_without_color_too():
    assert len({look.color for look in LOOKS}) == len({look.marker for look in LOOKS}) == len(LOOKS) == 8
    assert len({look.linestyle for look in LOOKS}) > 4


def test_after_the_first_seed_has_stopped_single_seeds_continue_as_thin_lines():
    runs = {"unet": [[0.2, 0.4], [0.4, 0.6, 0.7, 0.8], [0.3, 0.5, 0.6]]}
    _, ax = drawn(curves, epochs_of(runs), "valid_dice")
    mean, *single = ax.lines
    assert mean.get_ydata() == pytest.approx([0.3, 0.5, NAN, NAN], nan_ok=True)
    assert ax.collections[0].get_paths()[0].vertices[:, 0].max() == 2
    assert [line.get_ydata().tolist()[1:3] for line in single] == [[0.6, 0.7], [0.5, 0.6]]
    assert np.isnan([line.get_ydata()[0] for line in single]).all()
    assert all(line.get_linewidth() < mean.get_linewidth() for line in single)
    assert legend_texts(ax) == ["unet"]


@pytest.mark.parametrize("missing", [NAN, float("inf"), None])
def test_a_gap_stays_a_gap(missing):
    epochs = epochs_of({"unet": [[0.2, missing, 0.4, 0.5, 0.6]]})
    _, ax = drawn(curves, epochs[epochs["epoch"] != 4], "valid_dice")
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert ax.lines[0].get_ydata() == pytest.approx([0.2, NAN, 0.4, NAN, 0.6], nan_ok=True)


def test_a_seed_that_broke_off_does_not_pull_the_mean():
    _, ax = drawn(curves, epochs_of({"unet": [[0.2, NAN, NAN], [0.4, 0.6, 0.8]]}), "valid_dice")
    mean, single = ax.lines
    assert mean.get_ydata() == pytest.approx([0.3, NAN, NAN], nan_ok=True)
    assert single.get_ydata() == pytest.approx([0.4, 0.6, 0.8])


def test_learning_rates_of_one_size_are_on_a_linear_axis_from_0():
    onecycle, cosine = [4e-5, 1e-3, 5e-4, 4e-9], [1e-3, 8e-4, 2e-4, 1e-6]
    _, ax = drawn(curves, epochs_of({"onecycle": [onecycle], "cosine": [cosine]}, "lr"), "lr")
    assert ax.get_yscale() == "linear"
    assert ax.get_ylabel() == "learning rate" and "0.001" in [text.get_text() for text in ax.get_yticklabels()]


def test_a_warm_up_within_the_first_epoch_shows_in_the_learning_rate():
    table = epochs_of({"onecycle": [[8e-4, 0.0]]}, "lr").assign(lr_first=[4e-5, 7e-4], lr_max=[1e-3, 7e-4])
    _, ax = drawn(curves, table, "lr")
    assert ax.lines[0].get_xdata() == pytest.approx([0.01, 0.5, 1, 1.01, 1.5, 2])
    assert ax.lines[0].get_ydata() == pytest.approx([4e-5, 1e-3, 8e-4, 7e-4, 3.5e-4, 0])


def test_parallel_coordinates_lead_each_setting_through_its_levels_to_its_dice():
    table = pd.DataFrame({"model": ["unet", "cbam", "unet"], "lr": ["0.1", "0.1", HOSTILE[0]], "mean": [0.9, 0.8, 0.7]})
    _, ax = drawn(parallel, table)
    *_, best = ax.lines  # on top
    # unet and cbam have 0.8 in the mean, 0.1 has 0.85 and the other level 0.7
    assert best.get_xdata().tolist() == [0, 1, 2] and best.get_ydata() == pytest.approx([0.4, 0.9, 1.0])
    assert ax.lines[0].get_ydata() == pytest.approx([0.1, 0.1, 0.0])
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["unet", "cbam", "$x_{1}$ \\frac{", "0.1", "0.700", "0.900"]


def test_losses_are_on_a_log_axis_with_plain_numbers():
    _, ax = drawn(curves, epochs_of({"unet": [[50.0, 0.6, 0.4, 0.3, 0.2]]}, "valid_loss"), "valid_loss")
    assert ax.get_yscale() == "log" and {"0.5", "1", "20"} <= {text.get_text() for text in ax.get_yticklabels()}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[0.0, 0.0], [-1.0, 2.0], [NAN, NAN], [1e-300, 1e100], [0.3, 0.3]])
def test_strange_losses_are_drawn_without_a_warning(values, tmp_path):
    figure, _ = drawn(curves, epochs_of({"unet": [values]}, "valid_loss"), "valid_loss")
    saved(figure, tmp_path, "losses")


def test_of_twelve_settings_eight_are_drawn_and_a_note_says_so():
    _, ax = drawn(curves, epochs_of({f"setting {n}": [[0.2, 0.4]] for n in range(12)}), "valid_dice")
    assert len(ax.lines) == 8 and notes(ax) == ["8 of 12 settings"]


def test_any_other_number_can_be_drawn():
    _, ax = drawn(curves, epochs_of({"unet": [[1, 2], [3, 4]]}, "some_number"), "some_number")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "some number")
    assert ax.lines[0].get_ydata().tolist() == [2, 3]


def test_dots_have_the_first_setting_on_top_with_its_mean_interval_and_seeds():
    settings = settings_of(["unet", "cbam"], mean=[0.91, 0.92], low=[0.90, NAN], high=[0.93, NAN])
    settings["per_seed"] = [[0.90, 0.92], [0.92]]
    _, ax = drawn(dots, settings)
    means, seeds, reported = ax.lines
    (intervals,) = ax.collections
    assert [text.get_text() for text in ax.get_yticklabels()] == ["unet", "cbam"] and ax.yaxis.get_inverted()
    assert means.get_xydata().tolist() == [[0.91, 0], [0.92, 1]]
    assert seeds.get_xydata() == pytest.approx(np.array([[0.90, 0.2], [0.92, 0.3], [0.92, 1.2]]))
    assert seeds.get_markerfacecolor() == "white"
    assert intervals.get_segments()[0].tolist() == [[0.90, 0], [0.93, 0]]
    assert len(intervals.get_segments()[1]) == 0 or np.isnan(intervals.get_segments()[1][:, 0]).all()
    assert legend_texts(ax) == ["mean, 95 % interval", "one seed"]
    assert not np.isfinite(reported.get_xdata()).any()


def test_seeds_lie_on_three_levels_so_that_equal_ones_are_seen():
    settings = settings_of(["unet"], per_seed=[[0.95, 0.90, 0.95, 0.95]], low=[0.85], high=[1.0])
    _, ax = drawn(dots, settings)
    assert ax.lines[1].get_ydata() == pytest.approx([0.2, 0.3, 0.4, 0.2])


def test_what_was_reported_is_in_the_legend_only_where_something_was():
    _, ax = drawn(dots, settings_of(["unet", "cbam"], reported=[NAN, 0.925]))
    assert legend_texts(ax)[-1] == "reported"
    assert ax.lines[2].get_ydata()[np.isfinite(ax.lines[2].get_xdata())].tolist() == [1]
    _, ax = drawn(dots, settings_of(["unet", "cbam"], reported=[NAN, NAN]))
    assert "reported" not in legend_texts(ax)


def test_without_any_interval_the_legend_claims_none():
    _, ax = drawn(dots, settings_of(["unet"], low=[NAN], high=[NAN]))
    assert legend_texts(ax) == ["mean", "one seed"]


def test_few_images_are_points_on_equal_axes_and_the_better_ones_are_counted():
    first, second = np.array([0.5, 0.6, 0.7, 0.9, 1.0]), np.array([0.6, 0.5, 0.8, 0.9, 1.0])
    _, ax = drawn(paired, first, second, ("unet", "cbam"))
    assert ax.collections[0].get_offsets().tolist() == np.column_stack([first, second]).tolist()
    assert notes(ax) == ["2 better under cbam\n2 equal", "1 better under unet"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Dice: unet", "Dice: cbam")
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert ax.get_xlim() == ax.get_ylim() == (-0.03, 1.03) and ax.get_aspect() == 1


def test_many_images_are_faint_points():
    first = np.random.default_rng(0).uniform(0, 1, 3669)
    _, ax = drawn(paired, first, first**2, ("unet", "cbam"))
    assert len(ax.collections[0].get_offsets()) == 3669 and ax.collections[0].get_alpha() < 0.2
    assert notes(ax) == ["0 better under cbam", "3669 better under unet"]


def test_other_images_cannot_be_paired():
    with pytest.raises(ValueError, match="got 3 and 2 images; both settings need the same images"):
        paired(new_figure()[1], np.ones(3), np.ones(2), ("unet", "cbam"))


def test_effects_stand_against_zero_and_verdicts_differ_in_filling_and_color():
    table = effects_of(["a - b", "c - d", "e - f"], ("better", "undecided", "worse"))
    table["effect"] = [0.6, 0.1, NAN]
    _, ax = drawn(effects, table)
    zero, better, undecided, worse = ax.lines
    assert zero.get_xdata() == [0, 0]
    assert (better.get_xydata().tolist(), undecided.get_xydata().tolist()) == ([[0.6, 0]], [[0.1, 1]])
    assert [intervals.get_segments()[0].tolist() for intervals in ax.collections] == [
        [[-0.25, row], [1.25, row]] for row in range(3)
    ]
    assert undecided.get_markerfacecolor() == "white" != better.get_markerfacecolor() != worse.get_markerfacecolor()
    assert len({line.get_marker() for line in (better, undecided, worse)}) == 3
    assert legend_texts(ax) == ["better", "undecided", "worse"]
    assert ax.get_xlabel() == "difference in test Dice × 100"


PLOTS = {
    "curves": lambda names: (curves, epochs_of({name: [[0.2, 0.4, 0.9]] * 2 for name in names}), "valid_dice"),
    "dots": lambda names: (dots, settings_of(names, reported=[0.95] * len(names))),
    "few_pairs": lambda names: (paired, np.full(229, 0.9), np.full(229, 0.8), (names[0], names[-1])),
    "many_pairs": lambda names: (paired, np.full(3669, 0.9), np.full(3669, 0.8), (names[0], names[-1])),
    "effects": lambda names: (effects, effects_of(names)),
}


def height_of(plot, names):
    if plot.endswith("pairs"):
        return 3.4
    return rows_height(len(names)) if plot in ("dots", "effects") else 2.3 + legend_height(names)


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    "names", [LONG, ["RESNET34_UNET_CBAM_WIDE, FLIP_JITTER_SOFT, S"] * 2, ["unet"], [2 * name for name in LONG]]
)
def test_nothing_is_outside_the_figure_the_axes_keep_their_room_and_no_text_is_small(plot, names):
    height = height_of(plot, names)
    names = [f"{name[:-1]}{number}" for number, name in enumerate(names)]
    figure, ax = drawn(*PLOTS[plot](names), height=height)
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= COLUMN_WIDTH and box.y1 <= height
    assert ax.get_position().width > 0.5 and ax.get_position().height > 0.25
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7


@pytest.mark.parametrize("plot", PLOTS)
def test_labels_of_rows_and_of_legends_do_not_overlap(plot):
    names = [2 * name for name in LONG]
    _, ax = drawn(*PLOTS[plot](names), height=height_of(plot, names))
    texts = [*(ax.get_legend().get_texts() if ax.get_legend() else []), *ax.get_yticklabels()]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    crossing = [(a, b) for number, a in enumerate(boxes) for b in boxes[:number] if a.overlaps(b)]
    assert crossing == []


def svg_texts(path):
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("plot", PLOTS)
def test_names_with_special_characters_are_written_as_they_are(plot, tmp_path):
    figure, _ = drawn(*PLOTS[plot](HOSTILE), height=4)
    svg, _ = saved(figure, tmp_path, plot)
    written = " ".join(text for text in svg_texts(svg) if text)
    wanted = HOSTILE[:1] if "pairs" in plot else [*HOSTILE[:3], r"a\x00b\x1b[31m c", *HOSTILE[4:7]]
    assert [name for name in wanted if name not in written] == []


@pytest.mark.parametrize("plot", PLOTS)
def test_the_same_data_give_the_same_bytes(plot, tmp_path):
    names = ["unet", "resnet34_unet"]
    first, _ = drawn(*PLOTS[plot](names))
    again, _ = drawn(*PLOTS[plot](names))
    written = [saved(figure, tmp_path / str(n), plot) for n, figure in enumerate((first, again))]
    assert [path.name for path in written[0]] == [f"{plot}.svg", f"{plot}.png"]
    for paths in zip(*written, strict=True):
        assert len({path.read_bytes() for path in paths}) == 1
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == [f"{plot}.png", f"{plot}.svg"]


@pytest.mark.parametrize("plot", PLOTS)
def test_figures_look_alike_whatever_style_a_notebook_has(plot, tmp_path):
    draw, *data = PLOTS[plot](["unet", "resnet34_unet"])

    def written(folder):
        figure, ax = new_figure()
        draw(ax, *data)
        return saved(figure, tmp_path / folder, plot)

    with matplotlib.style.context(["dark_background", {"font.size": 20, "font.family": "serif", "axes.grid": False}]):
        before = dict(matplotlib.rcParams)
        elsewhere = written("elsewhere")
        assert dict(matplotlib.rcParams) == before
    for one, other in zip(written("plain"), elsewhere, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_figure_is_white_700_pixels_wide_and_its_svg_names_a_generic_font(tmp_path):
    figure, _ = drawn(*PLOTS["dots"](["unet"]))
    svg, png = saved(figure, tmp_path, "dots")
    pixels = matplotlib.image.imread(png)
    assert pixels.shape[:2] == (520, 700) and to_hex(pixels[0, 0]) == "#ffffff"
    assert "'DejaVu Sans', sans-serif" in svg.read_text() and "dc:date" not in svg.read_text()


def test_an_empty_table_gives_empty_axes():
    nothing = pd.DataFrame(columns=["setting", "seed", "epoch", "lr"])
    assert drawn(curves, nothing, "lr")[1].get_xlabel() == "epoch"
    assert drawn(dots, settings_of(["unet"]).head(0))[1].get_xlabel()
    assert drawn(effects, effects_of(["a - b"]).head(0))[1].get_xlabel()


@pytest.mark.long
def test_a_report_needs_matplotlib_only_to_draw_and_never_pyplot():
    code = (
        "import sys, src.analysis.report.page, src.display.figure_style as style\n"
        "assert 'matplotlib' not in sys.modules\n"
        "style.legend_above(style.new_figure()[1], [])\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0
