"""What every test has: a device to run on, and a look at what it leaves behind.

There is one profile of examples for all property tests.
"""

import hypothesis
import pytest

import leaks
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


def pytest_collection_modifyitems(config, items):
    """Let a search take its time: a limit that strikes amid an example looks like a failure."""
    if config.getoption("--hypothesis-profile") == "search":
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.fixture(params=nt.devices(), ids=str)
def device(request):
    """Each device in turn; arrays made in the test go there."""
    skip_what_it_lacks(request, request.param)
    with nt.Stream(request.param):
        yield request.param


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember that a test failed: its traceback holds what it worked on."""
    report = yield
    item.failed = getattr(item, "failed", False) or report.failed
    return report


@pytest.fixture(autouse=True, scope="session")
def quick_collections():
    """Garbage is looked for after many tests."""
    leaks.freeze()


@pytest.fixture(autouse=True)
def nothing_left_behind(request):
    """Nodes, buffers, reports and all else are as many as before, and every failure was met."""
    before, unmet = leaks.alive()
    assert not unmet
    yield
    if request.node.failed:
        return
    unmet = leaks.alive()[1]
    assert not unmet
    assert not leaks.left_behind(before)
