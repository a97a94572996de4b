"""What a command offers and takes of Hydra."""

from hydra._internal.utils import create_config_search_path

from src.cli.hydra_entry import _Loader
from src.cli.overrides import CONF


def test_claims_are_offered_nowhere(train):
    told = train("--help").stdout
    assert "trainer: " in told and "claims" not in told
    loader = _Loader(create_config_search_path(f"file://{CONF}"))  # which completion asks too
    assert "claims" not in loader.list_groups("") and loader.list_groups("claims") == []
    assert loader.get_group_options("claims") == loader.get_group_options("claims/best") == []
