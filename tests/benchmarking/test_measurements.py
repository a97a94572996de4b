import pytest

from src.benchmarking.measurements import forward_operations
from src.training.checks import checked


@pytest.mark.parametrize(("network", "multiply_adds"), [("unet", 48.17e9), ("resnet34_unet", 7.44e9)])
def test_operations_are_two_for_each_multiply_add_of_the_reports_networks(composed, network, multiply_adds):
    found = forward_operations(checked(composed(f"model={network}", "device=cpu")))
    assert found == pytest.approx(2 * multiply_adds, rel=1e-3)


def test_scoring_twice_is_no_work_of_training(composed):
    plain, twice = (
        forward_operations(checked(composed("model.width=8", "device=cpu", *more)))
        for more in ((), ("trainer.flip_tta=true",))
    )
    assert plain == twice
