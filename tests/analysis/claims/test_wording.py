"""Effects, intervals and p-values as a reader sees them."""

import math

import pytest

from src.analysis.claims.wording import effect_text, interval_text, p_text
from src.analysis.statistics.metrics import METRICS, valid_loss_rise


def test_effects_as_a_reader_sees_them():
    dice, loss, time = (METRICS[name] for name in ("test_dice", "valid_loss_end", "train_seconds"))
    assert effect_text(dice, -0.384) == "−0.38 points" and interval_text(dice, -5.07, 4.3) == "−5.07 to +4.30"
    assert effect_text(loss, 0.01234) == "+0.0123"
    assert effect_text(time, 1.875) == "1.88 times" and interval_text(time, 1.5, 2.0) == "1.5 to 2"
    assert effect_text(METRICS["epochs_to_converge"], -2.0) == "−2.0 epochs"
    assert effect_text(valid_loss_rise(0.5), 12.34) == "+12.3 %"
    assert interval_text(dice, math.nan, math.nan) == "unknown"


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0.0004, "< 0.001"), (0.0496, "0.04960"), (0.0504, "0.050"), (0.05, "0.050"), (0.2, "0.200")],
)
def test_a_p_value_is_never_rounded_across_what_it_is_held_against(p_value, text):
    assert p_text(p_value) == text
