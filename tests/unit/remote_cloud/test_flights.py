"""What is kept of the news of remote jobs, before and after it is known whose they are."""

from __future__ import annotations

from orchestrator.model import Result
from orchestrator_remote_cloud.flights import _EARLY, COMPLETED, STARTED, Flight, Flights, News
from orchestrator_remote_cloud.intents import Intent
from orchestrator_remote_cloud.shapes import Bulk


def under_way(flights: Flights, job: str = "job") -> Flight:
    """A flight whose submission is still to be answered."""
    return flights.add(Intent(token=job, backend="b", jobs=(job,), created_ms=1))


def told(remote_id: str, outcomes: int) -> News:
    """A result that came by itself."""
    result = Result(qubits=20, probabilities=dict.fromkeys(range(outcomes), 1 / outcomes))
    return News(COMPLETED, bulk=Bulk(id=remote_id, status=COMPLETED, result=result))


def test_news_that_overtakes_the_answer_is_there_when_that_comes() -> None:
    """With its result if that is small; a large one is asked for again."""
    flights = Flights()
    small, large = under_way(flights, "small"), under_way(flights, "large")
    flights.news("remote-small", told("remote-small", 4))
    flights.news("remote-large", told("remote-large", 4_000))
    flights.landed(small, "remote-small")
    flights.landed(large, "remote-large")
    assert flights.ending == [small, large]
    assert small.news is not None
    assert small.news.bulk is not None
    assert large.news == News(COMPLETED)


def test_jobs_of_others_are_not_kept() -> None:
    """Without a submission under way nothing is; with one, so many and no large ones; nothing once it is answered."""
    flights = Flights()
    flights.news("stranger", told("stranger", 4))
    assert not flights._early
    flight = under_way(flights)
    for number in range(3 * _EARLY):
        flights.news(f"stranger-{number}", told(f"stranger-{number}", 100))
    assert len(flights._early) == _EARLY
    assert all(news.bulk is None for news in flights._early.values())
    flights.landed(flight, "remote")
    assert not flights._early
    assert flight in flights.unsure  # what was said of it may have gone with what was too much


def test_of_progress_the_newest_is_told() -> None:
    """While nobody tells, a later fraction takes the place of an earlier one; of ended jobs nothing is said."""
    flights = Flights()
    flight, over = under_way(flights, "one"), under_way(flights, "over")
    flights.landed(flight, "remote-one")
    flights.landed(over, "remote-over")
    flights.news("remote-one", News(STARTED))
    flights.news("remote-over", News(COMPLETED))
    changed = flights.changed
    for fraction in (0.1, 0.2, 0.3):
        flights.advanced("remote-one", fraction)
        flights.advanced("remote-over", fraction)
        flights.advanced("stranger", fraction)
    assert changed.is_set()
    assert flights.advancing == [flight]
    assert flight.fraction == 0.3


def test_a_flight_is_wanted_until_the_last_of_its_jobs_has_ended() -> None:
    """Whether these left it, or got what came of it; then it is to be canceled, once."""
    flights = Flights()
    flights.know([Intent(token="t", backend="b", jobs=("a", "b", "c"), created_ms=1, remote_id="remote")])
    flights.leave("a")
    flights.leave("unknown")
    assert flights.unwanted == []
    [flight] = flights
    flight.over.add("b")
    flights.leave("b")
    assert flights.unwanted == []
    flights.leave("c")
    flights.leave("c")
    assert flights.unwanted == [flight]
