"""Which of many rows a figure shows."""

from src.analysis.claims.effects import factor_effects
from src.analysis.claims.ranking import settings_scores
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.figures import pictures_of
from tests.analysis.recorded import finish


def test_without_room_for_all_effects_the_answers_stay_and_the_parts_of_means_go(tmp_path):
    for model in ("unet", "resnet34_unet"):
        for scheduler in ("cosine", "onecycle"):
            for seed in range(3):
                finish(tmp_path, f"model={model}", f"scheduler={scheduler}", dice=[0.5, 0.6], seed=seed)
    records = load_records([tmp_path])
    settings = settings_of(records)
    found = factor_effects(records, settings, ["model", "scheduler"])
    assert [effect.is_main for effect in found] == [True, False, False] * 2  # model and scheduler, each in two contexts

    def shown(effects):
        (picture,) = [
            one
            for one in pictures_of(records, settings, settings_scores(records, settings), effects)
            if one.name == "effects"
        ]
        return len(picture.figure().axes[0].get_yticklabels()), picture.caption

    rows, caption = shown(found * 5)
    assert rows == 30 and "main" not in caption
    rows, caption = shown(found * 6)
    assert rows == 12 and caption.endswith(" The main 12 of 36 effects.")
    rows, caption = shown(found * 16)
    assert rows == 30 and caption.endswith(" The main 30 of 96 effects.")
