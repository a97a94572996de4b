"""Old names: refused in what is asked for today, read in what was recorded."""

from src.base.config import RunConfig, parse_data, problems_of
from src.base.renamed import KEYS, OPTIONS, with_new_names
from src.cli.overrides import CONF


def test_every_old_key_is_refused_with_the_new_one(composed):
    for old, new in KEYS.items():
        assert problems_of(RunConfig, composed()) == []
        section, _, key = old.partition(".")
        plain = composed()
        plain[section][key] = "x"
        if section == "data":  # the model's keys are held against its class
            assert problems_of(RunConfig, plain) == [f"{old}: renamed to {new}"]


def test_every_new_option_is_there_and_no_old_one():
    for old, new in OPTIONS.items():
        assert not (CONF / f"{old}.yaml").exists() and (CONF / f"{new.replace('=', '/')}.yaml").is_file()


def test_the_config_of_an_old_record_is_read_under_the_new_names(composed):
    plain = composed()
    data = plain["data"]
    old = {"cache": data["cache_dir"], "cached": False}
    old |= {key: value for key, value in data.items() if key not in ("cache_dir", "decode_once")}
    read = with_new_names({**plain, "data": old})
    assert parse_data(read["data"]) == parse_data({**data, "decode_once": False})
    assert with_new_names(plain) == plain
    assert [with_new_names(odd) for odd in (None, [], {}, {"data": 3})] == [None, [], {}, {"data": 3}]


def test_a_recorded_config_gets_the_names_that_keys_have_now():
    recorded = {"seed": 0, "model": {"name": "unet", "flip_tta": True}, "trainer": {"epochs": 1}, "debug": None}
    assert with_new_names(recorded) == {
        "seed": 0,
        "model": {"name": "unet"},
        "trainer": {"epochs": 1, "flip_tta": True},
        "debug": None,
    }
    assert "flip_tta" in recorded["model"]  # and stays as it was read


def test_an_empty_path_of_an_old_record_is_the_working_folder(composed):
    plain = composed()
    old = {**plain, "output": "", "data": {**plain["data"], "root": "", "cache_dir": ""}}
    read = with_new_names(old)
    assert (read["output"], read["data"]["root"], read["data"]["cache_dir"]) == (".", ".", ".")
    assert problems_of(RunConfig, old) and problems_of(RunConfig, read) == []
