"""Which of many rows a figure shows, and when it is drawn."""

import json
from functools import partial

import pandas as pd

from src.analysis.claims.effects import factor_effects
from src.analysis.claims.ranking import settings_scores
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.figures import Picture, pictures_of, save_pictures
from src.analysis.report.plots import dots
from tests.analysis.recorded import finish

SCORES = pd.DataFrame({"setting": ["unet"], "mean": [0.5], "low": [0.4], "high": [0.6], "per_seed": [[0.45, 0.55]]})


def test_a_figure_is_drawn_again_only_if_it_shows_something_else_or_its_files_are_not_the_same(tmp_path, monkeypatch):
    drawn: list[str] = []
    figure = Picture.figure
    monkeypatch.setattr(Picture, "figure", lambda picture: drawn.append(picture.name) or figure(picture))

    def names_drawn(scores=SCORES, height=1.5):
        drawn.clear()
        pictures = [Picture(name, "", "settings", partial(dots, settings=scores), height) for name in ("a", "b")]
        save_pictures(pictures, tmp_path)
        return list(drawn)

    assert names_drawn() == ["a", "b"]
    bytes_of = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert names_drawn() == []
    assert names_drawn(SCORES.assign(per_seed=[[0.45, 0.5500001]])) == ["a", "b"]
    assert names_drawn(height=1.6) == ["a", "b"]
    assert names_drawn() == ["a", "b"]
    (tmp_path / "a.svg").write_bytes(bytes_of["a.svg"])  # touched, whatever it holds
    (tmp_path / "b.png").unlink()
    assert names_drawn() == ["a", "b"]
    for broken in ("[]", "{", '{"a": 1}'):
        (tmp_path / ".written.json").write_text(broken)
        assert names_drawn() == ["a", "b"]
    assert {name: (tmp_path / name).read_bytes() for name in bytes_of if name != ".written.json"} == {
        name: content for name, content in bytes_of.items() if name != ".written.json"
    }


def test_files_of_an_earlier_report_are_deleted_and_no_others(tmp_path):
    folder = tmp_path / "figures"

    def save(*names, sheets=()):
        pictures = [Picture(name, "", "settings", partial(dots, settings=SCORES), 1.5) for name in names]
        save_pictures(pictures, folder, [([name], "", (folder / name).touch) for name in sheets])
        return {path.name for path in folder.iterdir()} - {".written.json"}

    assert save("a", "b", sheets=["1.jpg", "2.jpg"]) == {"a.svg", "a.png", "b.svg", "b.png", "1.jpg", "2.jpg"}
    (folder / "own.png").touch()  # of the user
    (tmp_path / "outside").touch()
    written = json.loads((folder / ".written.json").read_text())
    others = ("../outside", str(tmp_path / "outside"), "..", "", "absent", "a\0")
    (folder / ".written.json").write_text(json.dumps(written | {name: [] for name in others}))
    assert save("a", sheets=["1.jpg"]) == {"a.svg", "a.png", "1.jpg", "own.png"}
    assert (tmp_path / "outside").exists()


def test_a_figure_of_a_name_that_no_encoding_has_is_drawn(tmp_path):
    scores = SCORES.assign(setting=["a\udcff"])
    save_pictures([Picture("a", "", "settings", partial(dots, settings=scores), 1.5)], tmp_path)
    assert (tmp_path / "a.svg").stat().st_size > 1000


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
