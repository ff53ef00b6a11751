"""What a backend can do, as data: read by validation, ``GET /backends``, the dispatcher and the conformance kit."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

import msgspec

from orchestrator.model import Cost, Stats, money

#: The gates of ``qis`` circuits as the vendor lists them (reference, section 13).
QIS_GATES: Final = (
    *("x", "y", "z", "h", "s", "si", "t", "ti", "v", "vi", "rx", "ry", "rz"),
    *("cnot", "swap", "xx", "yy", "zz", "not"),
)

#: A price; the bound excludes NaN and infinity, which TOML can spell.
Price = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
#: With none nothing would ever be handed over.
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class NoiseModel(msgspec.Struct, frozen=True, kw_only=True):
    """A noise model a backend offers.

    Attributes:
        qubits: Widest circuit it takes.
    """

    qubits: int


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run costs: ``max(job_minimum, shots * (gates_1q * gate_1q + gates_2q * gate_2q))``, in `unit`.

    The form of the vendor's rate card (reference, section 11). Gates are those of the circuit as submitted, so that
    whoever submits can reckon the price; wider gates count as two-qubit gates. Each circuit of a job is a run.

    Attributes:
        unit: A currency code, or ``credit``.
        gate_1q: Price of one one-qubit gate of one shot.
        gate_2q: The same of a two-qubit gate.
        job_minimum: Least price of a run.
    """

    unit: Annotated[str, msgspec.Meta(pattern="^[a-z]{3,10}$")] = "usd"
    gate_1q: Price = 0.0
    gate_2q: Price = 0.0
    job_minimum: Price = 0.0

    def of(self, stats: Stats, shots: int) -> Cost:
        """The price of one run of a circuit of that size."""
        gate_1q, gate_2q, least = (Decimal(str(each)) for each in (self.gate_1q, self.gate_2q, self.job_minimum))
        return Cost(
            value=money(max(least, shots * (stats.gates_1q * gate_1q + stats.gates_2q * gate_2q))), unit=self.unit
        )


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do. What a job asks beyond it makes the job fail with the vendor's code, see `check`.

    Attributes:
        backend: Its name, as people write it: ``lab.trap``. Of a ``qpu.`` name, what follows is an alias.
        qubits: Widest circuit, in wires that gates touch.
        kind: ``simulator`` or ``qpu``; decides the failure code of a `BackendFault` that names none.
        gatesets: Accepted gate sets: ``qis``, ``native`` or both.
        gates: Names of gates that ``GET /backends`` shows; they restrict nothing. Without any, those of ``qis``
            circuits as the vendor lists them, where these are accepted.
        native_gates: Native gates it has, where ``native`` circuits are accepted.
        max_shots: Most shots of one job.
        max_circuits: Most circuits in one job; the contract itself allows 5,000.
        noise_models: Accepted noise models by name; where there are none, ``ideal`` asks for nothing.
        error_mitigations: What it can do about errors: ``debiasing``, ``symmetry_verification``.
        physics: How far results follow the circuit: ``exact`` (its probabilities, but for rounding), ``noisy`` (with
            errors, as a machine or under a noise model), None where they are something else. The conformance kit
            compares with known circuits accordingly.
        seeded: Counts are a function of circuit, noise, shots and seed alone.
        concurrency: Attempts (or batches) running at one time.
        batch: Most attempts handed over at once.
        families: The ready children of one parent are handed over together, whatever `batch` says; with
            `instant_prepare` these are all that have not ended.
        cancel: Running attempts can be stopped.
        recovers: `Adapter.recover` may answer that attempts still run after a restart. A stop of the server then
            neither waits for running attempts nor puts them back. Executions can so outlive the wish for them, see
            `Ready.ended`.
        instant_prepare: `prepare` only compares the job with these capabilities; `submitted` and `ready` are then
            two events of one commit.
        run_limit_s: Longest run of one attempt, seconds, time aside in which the backend is unavailable
            (`Emit.availability`); 0 for the limit of the settings.
        cost_model: ``QCT`` or ``2QGE_operations`` where runs are priced.
        prices: What runs cost, where that is known before; a `Result` may tell what one did cost.
        location: Where it stands, for ``GET /backends``.
        power_kw: What it draws, kilowatts, for ``GET /backends``.
    """

    backend: str
    qubits: int
    kind: str = "simulator"
    gatesets: tuple[str, ...] = ("qis", "native")
    gates: tuple[str, ...] = ()
    native_gates: tuple[str, ...] = ("gpi", "gpi2", "ms", "zz", "nop")
    max_shots: int = 1_000_000
    max_circuits: int = 5_000
    noise_models: dict[str, NoiseModel] = msgspec.field(default_factory=dict)
    error_mitigations: tuple[str, ...] = ()
    physics: str | None = None
    seeded: bool = True
    concurrency: AtLeastOne = 1
    batch: AtLeastOne = 1
    families: bool = False
    cancel: bool = True
    recovers: bool = False
    instant_prepare: bool = True
    run_limit_s: float = 0.0
    cost_model: str | None = None
    prices: Prices | None = None
    location: str | None = None
    power_kw: float | None = None

    @property
    def shown_gates(self) -> tuple[str, ...]:
        """Gates to tell people of, native ones aside."""
        return self.gates or (QIS_GATES if "qis" in self.gatesets else ())

    @property
    def shown_native_gates(self) -> tuple[str, ...]:
        """Native gates that a circuit may use."""
        return self.native_gates if "native" in self.gatesets else ()
