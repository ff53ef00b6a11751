"""Which adapters can run in worker processes, and what comes back from there."""

from pathlib import Path

import msgspec
import pytest

from orchestrator.backends.abc import Adapter, AdapterContext, Attempt, Capabilities
from orchestrator.backends.hosting import CALL, Errand, NotHostable, PackedOutcome, origin_of, run_hosted
from orchestrator.backends.running import bind, made_by, move
from orchestrator.circuits import ir
from orchestrator.clock import SystemClock
from orchestrator.errors import AdapterUnavailable, CanceledByBackend, ExecutionError, WorkerLost
from orchestrator.lifecycle import JobStatus
from orchestrator.model import Job, JobSpec, Noise, Outcome, Result
from orchestrator.testing.adapters import FLIP, serving, zeros
from orchestrator.workers.pool import WorkerPool
from orchestrator.workers.protocol import Failed


class Simple(Adapter):
    name = "simple"


class Streaming(Simple):
    async def serve(self, *_: object) -> None: ...


class Vouching(Simple):
    async def heartbeat(self, attempts: object) -> list[Attempt]:
        return []


class WithArguments(Simple):
    def __init__(self, address: str = "here") -> None: ...


class Staying(Simple):
    isolation = "server"


class Isolated(Streaming):
    isolation = "worker"


def context(pool: WorkerPool | None = None) -> AdapterContext:
    clock = SystemClock()
    return AdapterContext(clock=clock, new_id=lambda: "id", workers=pool or WorkerPool(1, clock), settings={"a": 1})


def test_a_class_without_arguments_or_an_entry_point_can_be_made_elsewhere() -> None:
    """Named so that another process finds it."""
    assert origin_of(Simple(), None) == f"{__name__}:Simple"
    assert origin_of(WithArguments(), "my_lab:make") == "my_lab:make"


class Local:
    class Nested(Simple):
        pass


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (Streaming(), "a serve of its own"),
        (Vouching(), "a heartbeat of its own"),
        (WithArguments(), "is made with arguments"),
        (Local.Nested(), "cannot be imported"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_others_say_why_they_stay(adapter: Adapter, reason: str) -> None:
    """What keeps knowledge in the server, or cannot be made the same way again."""
    with pytest.raises(NotHostable, match=reason):
        origin_of(adapter, None)
    bind(adapter, context(), move=True)
    assert not move(adapter, "it blocked")


class Serving(Simple):
    def capabilities(self) -> list[Capabilities]:
        return [Capabilities(backend="lab", qubits=1)]

    def run(self, attempt: Attempt) -> Result:
        return zeros(attempt)


@pytest.mark.parametrize("module", ["", ".", "mut0", "no.such", "builtins", "raising", "leaving"])
async def test_a_class_whose_module_cannot_be_imported_stays_and_opens(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Made from text, as in a notebook: nothing is wrong with it, until it asks for worker processes."""
    (tmp_path / "raising.py").write_text("raise RuntimeError('no license')")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    made = type("Made", (Serving,), {"__module__": module})
    async with serving(made()) as service:
        assert service.backends.problems == []
        assert (await service.result((await service.submit(FLIP, backend="lab")).id)).counts == {0: 100}
    with pytest.raises(NotHostable, match=r"cannot be imported|is something else"):
        origin_of(made(), None)
    bind(made(), context(), move=True)
    with pytest.raises(AdapterUnavailable, match="no run in a worker process"):
        bind(type("Isolated", (made,), {"isolation": "worker"})(), context(), move=True)


async def test_policy_and_author_decide_who_is_moved() -> None:
    """An adapter may ask to stay, the settings may say that nobody moves; what cannot be isolated is refused."""
    for adapter, allowed, moves in ((Simple(), True, True), (Simple(), False, False), (Staying(), True, False)):
        bind(adapter, context(), move=allowed)
        assert move(adapter, "it blocked") is moves
    with pytest.raises(AdapterUnavailable, match="a serve of its own"):
        bind(Isolated(), context(), move=True)
    named = WithArguments()
    made_by(named, "my_lab:make")
    bind(named, context(), move=True)
    assert move(named, "it blocked")


class Pool:
    """In place of the worker processes: keeps the errand, answers what the test says."""

    def __init__(self, answer: bytes | ExecutionError) -> None:
        self.answer = answer

    async def run(self, call: str, payloads: list[bytes]) -> list[bytes | ExecutionError]:
        assert call == CALL
        (self.payload,) = payloads
        return [self.answer]


ATTEMPT = Attempt(
    Job(
        id="a",
        project_id="p",
        spec=JobSpec(backend="simple", noise=Noise(model="aria-1", seed=3), metadata={"k": "v"}),
        status=JobStatus.STARTED,
        submitted_at=1,
        attempt=2,
        outcome=Outcome(warnings=("slow",)),
    ),
    2,
    ir.dumps(FLIP),
    b"what prepare made",
)


async def test_an_attempt_arrives_whole_and_its_outcome_comes_back() -> None:
    """Job, number, input, what was compiled, settings; results and faults in order, invalid ones as what they are."""
    result = Result(qubits=1, probabilities={1: 1.0}, counts={1: 100})
    packed = [
        PackedOutcome(result=msgspec.Raw(msgspec.json.encode(result))),
        PackedOutcome(failed=Failed.of(CanceledByBackend("maintenance"))),
        PackedOutcome(result=msgspec.Raw(b'{"qubits":1,"probabilities":{"0":null}}')),
    ]
    pool = Pool(msgspec.json.encode(packed))
    good, canceled, invalid = await run_hosted(pool, "my_lab:Trap", context(), [ATTEMPT], 64)  # type: ignore[arg-type]
    assert good == result
    assert isinstance(canceled, CanceledByBackend)
    assert isinstance(invalid, ExecutionError)
    assert invalid.message.startswith("invalid result: ")
    errand = msgspec.json.decode(pool.payload, type=Errand)
    (arrived,) = errand.attempts
    assert (errand.origin, errand.settings, errand.memory_mb) == ("my_lab:Trap", {"a": 1}, 64)
    assert (arrived.job, arrived.number) == (ATTEMPT.job, 2)
    assert bytes(arrived.input) == ATTEMPT.input
    assert arrived.compiled == "what prepare made"


async def test_a_lost_worker_is_raised_so_that_the_batch_is_run_one_by_one() -> None:
    """The batch as a whole has no answers."""
    with pytest.raises(WorkerLost):
        await run_hosted(Pool(WorkerLost("killed")), "a:b", context(), [ATTEMPT], None)  # type: ignore[arg-type]
