"""Result payloads of the vendor contract (reference, section 8), made from the domain's `Result`.

A payload may have millions of entries: those are written in a thread, in pieces small enough for the event
loop to run in between.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import anyio.to_thread
import msgspec

from orchestrator.api.errors import NotFound
from orchestrator.model import Job, Result

_PIECE: Final = 10_000
#: The register that covers all qubits.
OUTPUT_ALL: Final = "output_all"

Bits = Sequence[int | None]


@dataclass(frozen=True)
class Format:
    """One documented result format.

    Attributes:
        id: Its id in the contract.
        artifact: The id under which a job offers it; that of the first is the contract's own.
        sampled: Whether it exists only where shots were sampled.
        write: From a job and its result to the payload.
    """

    id: str
    artifact: str
    sampled: bool
    write: Callable[[Job, Result], bytes]


def json_object(entries: Iterable[tuple[int | str, object]]) -> bytes:
    """A JSON object of any number of entries, in order."""
    return b"{" + _joined(entries, dict) + b"}"


def json_array(items: Iterable[object]) -> bytes:
    """A JSON array of any number of items."""
    return b"[" + _joined(items, list) + b"]"


def _joined(items: Iterable[object], container: Callable[..., object]) -> bytes:
    rest, pieces = iter(items), []
    while piece := container(islice(rest, _PIECE)):
        pieces.append(msgspec.json.encode(piece)[1:-1])
    return b",".join(pieces)


async def render(form: Format, job: Job, result: Result) -> bytes:
    """The payload of a completed job in one format.

    Raises:
        NotFound: Nothing was sampled, and the format is about samples.
    """
    if form.sampled and not result.sampled:
        raise NotFound("the job sampled no shots")
    entries = len(result.probabilities)
    if form.sampled:
        entries = max(entries, job.spec.shots)
    if entries <= _PIECE:
        return form.write(job, result)
    return await anyio.to_thread.run_sync(form.write, job, result)


async def render_aggregate(results: Sequence[tuple[Job, Result]]) -> bytes:
    """Probabilities of the children of a job: child id -> map, in circuit order."""
    bodies = [f'"{job.id}":'.encode() + await render(PROBABILITIES, job, result) for job, result in results]
    return b"{" + b",".join(bodies) + b"}"


def counted(result: Result) -> Mapping[int, int]:
    """How many shots had each outcome, also where a backend only told the shots."""
    return Counter(result.shots or ()) if result.counts is None else result.counts


def ordered_shots(job: Job, result: Result) -> Sequence[int]:
    """The outcome of each shot.

    Where a backend only counted, the order of its shots carries no information: every order is equally likely
    given the counts. One is drawn from the job's seed, so that each answer repeats the first.
    """
    if result.shots is not None:
        return result.shots
    shots = [outcome for outcome, count in sorted((result.counts or {}).items()) for _ in range(count)]
    random.Random(job.spec.seed).shuffle(shots)
    return shots


def registers(job: Job, result: Result) -> dict[str, Bits]:
    """Registers of a job: its own and the one the system adds; index = bit, value = qubit or None."""
    return {**(job.spec.registers or {}), OUTPUT_ALL: range(result.qubits)}


def _probabilities(_job: Job, result: Result) -> bytes:
    return json_object(result.probabilities.items())


def _probabilities_v2(job: Job, result: Result) -> bytes:
    return _by_register("probabilities", result.probabilities, registers(job, result))


def _histogram(_job: Job, result: Result) -> bytes:
    return json_object(counted(result).items())


def _histogram_v2(job: Job, result: Result) -> bytes:
    return _by_register("histogram", counted(result), registers(job, result))


def _shots(job: Job, result: Result) -> bytes:
    return json_array(map(str, ordered_shots(job, result)))


def _shots_v2(job: Job, result: Result) -> bytes:
    wires = registers(job, result)
    shots = (
        {"registers": {name: [_bit(shot, qubit) for qubit in bits] for name, bits in wires.items()}}
        for shot in ordered_shots(job, result)
    )
    return b'{"shots":' + json_array(shots) + b"}"


def _by_register(title: str, outcomes: Mapping[int, float], wires: Mapping[str, Bits]) -> bytes:
    maps = (
        msgspec.json.encode(name) + b":" + json_object(_marginal(outcomes, bits).items())
        for name, bits in wires.items()
    )
    return f'{{"{title}":{{"registers":{{'.encode() + b",".join(maps) + b"}}}"


def _marginal(outcomes: Mapping[int, float], bits: Bits) -> dict[str, float]:
    """Outcomes of a register as bit strings, the highest bit leftmost."""
    if isinstance(bits, range):
        width = len(bits)
        return {f"{outcome:0{width}b}": value for outcome, value in outcomes.items()}
    sums: dict[str, float] = {}
    for outcome, value in outcomes.items():
        letters = "".join(str(_bit(outcome, qubit)) for qubit in reversed(bits))
        sums[letters] = sums.get(letters, 0) + value
    return sums


def _bit(outcome: int, qubit: int | None) -> int:
    return 0 if qubit is None else outcome >> qubit & 1


PROBABILITIES: Final = Format("ionq.result.probabilities.json.v1", "probabilities", False, _probabilities)
HISTOGRAM: Final = Format("ionq.result.histogram.json.v1", "histogram", True, _histogram)
SHOTS: Final = Format("ionq.result.shots.json.v1", "shots", True, _shots)

#: Every format of one circuit's results.
FORMATS: Final = (
    PROBABILITIES,
    HISTOGRAM,
    SHOTS,
    Format("ionq.result.probabilities.json.v2", "probabilities-v2", False, _probabilities_v2),
    Format("ionq.result.histogram.json.v2", "histogram-v2", True, _histogram_v2),
    Format("ionq.result.shots.json.v2", "shots-v2", True, _shots_v2),
)
AGGREGATE: Final = "ionq.result.probabilities-aggregate.json.v1"
AGGREGATE_ARTIFACT: Final = "probabilities-aggregate"
NATIVE: Final = "ionq.native.v1"
NATIVE_ARTIFACT: Final = "native"
