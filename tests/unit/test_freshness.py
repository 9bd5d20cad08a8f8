"""How old a page may be, worked out from the intervals that the program is shipped with: never 2 s.

How long each step takes is not in it: `tests/browser/test_overview.py` measures the whole way.
"""

import pytest

from infra.console.pages import letters, overview, replay, replays, workers
from worker import controlling, feed, reporting
from worker.domain import replay_runner
from worker.unhurried import _SHARE

PROMISED = 2.0
SHOWN = (overview._EVERY, workers._EVERY, letters._LOOK_EVERY)


@pytest.mark.parametrize("shown", SHOWN)
def test_what_broker_and_store_know_is_on_the_page_in_time(shown: float) -> None:
    assert feed._EVERY + shown < PROMISED


@pytest.mark.parametrize("shown", SHOWN)
def test_what_a_worker_knows_is_on_the_page_in_time(shown: float) -> None:
    assert reporting._REPORT_EVERY + feed._EVERY + shown < PROMISED


@pytest.mark.parametrize("takes", [0.001, 0.1])
def test_what_is_counted_is_on_the_page_in_time_though_the_store_rests_after_each_count(takes: float) -> None:
    assert takes + takes / _SHARE + feed._EVERY + takes + overview._EVERY < PROMISED


def test_a_worker_does_in_time_what_is_wished() -> None:
    assert controlling._READ_EVERY < PROMISED
    assert controlling._READ_EVERY + feed._EVERY + workers._EVERY < PROMISED, (
        "and the page shows it: it reports at once"
    )


@pytest.mark.parametrize("shown", [replay._EVERY, replays._EVERY])
def test_how_far_a_replay_is_is_on_the_page_in_time(shown: float) -> None:
    assert replay_runner._LOOK_EVERY + shown <= PROMISED
