"""What every test has: a device to run on, and one profile of examples for property tests."""

import hypothesis
import pytest

import nitinol as nt
from lacks import skip_what_it_lacks

# Few and reproducible examples: the whole suite is to run in minutes on two cores. For a longer
# search: pytest --hypothesis-profile=search.
hypothesis.settings.register_profile(
    "suite",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.register_profile(
    "search", hypothesis.settings.get_profile("suite"), max_examples=2000, derandomize=False
)
hypothesis.settings.load_profile("suite")


@pytest.fixture(params=nt.devices(), ids=str)
def device(request):
    """Each device in turn; arrays made in the test go there."""
    skip_what_it_lacks(request, request.param)
    with nt.Stream(request.param):
        yield request.param
