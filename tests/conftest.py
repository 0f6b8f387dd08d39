"""What every test stands on: a fixed environment, servers on first use, reproducible examples."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

# The default run is the gate of every change, so it tries the same examples each time: a change
# is refused for what it does, never for the luck of the draw. `thorough`, of `make test-slow`,
# goes on to three times as many of each law. Luck is the work of `deep`, which draws many and new
# ones, and prints what repeats a failure. No deadline in any: on a machine that is busy with other
# workers, slow is not wrong.
_PATIENT = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _PATIENT, derandomize=True, max_examples=20)
settings.register_profile("thorough", _PATIENT, derandomize=True, max_examples=60)
settings.register_profile("deep", _PATIENT, max_examples=5_000)
settings.load_profile(os.environ.get("COUNTERFOIL_TEST_EXAMPLES", "ci"))

# A developer's own COUNTERFOIL_DATABASE must be out of every test's reach.
for _name in [name for name in os.environ if name.startswith("COUNTERFOIL_")]:
    if not _name.startswith("COUNTERFOIL_TEST_"):
        del os.environ[_name]


def pytest_collection_finish() -> None:
    """Let no collection of garbage look again at what lasts as long as the run.

    By now these are most of the objects there are: half of a second for each full collection, of
    which a benchmark asks for one before every sample.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of an empty PostgreSQL database that this worker shares with no other."""
    if server := os.environ.get("COUNTERFOIL_TEST_POSTGRES_URL"):
        with postgres.database(server) as url:
            yield url
            postgres.drop_templates(url)
    else:
        with postgres.cluster() as url:
            yield url
