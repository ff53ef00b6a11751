"""The remote's backends: what they can do, how they are, and the calibrations they run under.

Asked for when the plugin is opened and now and then afterwards, once for all backends of a remote. What was seen is
kept in the plugin's folder, so that a start finds the backends though the remote is down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

import anyio
import anyio.to_thread
import msgspec
import structlog

from orchestrator.backends.abc import Capabilities, NoiseModel, Prices
from orchestrator.backends.check import DEBIASING, SYMMETRY_VERIFICATION
from orchestrator.circuits.gates import GATES
from orchestrator.model import CIRCUIT, Characterization
from orchestrator_remote_cloud.link import V04, Link
from orchestrator_remote_cloud.settings import RemoteSettings
from orchestrator_remote_cloud.shapes import Estimate, Rate, RemoteBackend, RemoteCharacterization, time_ms
from orchestrator_remote_cloud.transport import Lost, NotSent, Refused

log = structlog.get_logger()

#: Where an orchestrator describes its feed; other clouds have no such route.
_FEED_SCHEMA: Final = "/events/v1/schema"
#: Longest wait for a remote when the plugin is opened.
OPEN_LIMIT_S: Final = 10.0
#: Units of a rate card, and what they make of the contract's cost models.
_BY_GATE: Final = "gates"
_COST_MODELS: Final = {_BY_GATE: "2QGE_operations", "compute_second": "QCT"}
#: Namespace of the ids of calibrations.
_CALIBRATIONS: Final = UUID("7c1d8f1e-5a0f-4b57-9a53-4d0a8d0c9f36")
_AVAILABLE: Final = "available"
_RETIRED: Final = "retired"


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What the remote charges for a backend, as far as its rate card can be told by `Prices`."""

    cost_model: str | None = None
    prices: Prices | None = None


def _nobody() -> None:
    """Nobody has to be told."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a remote."""

    orchestrator: bool
    backends: list[RemoteBackend]
    rates: dict[str, Rates] = {}


class Catalog:
    """The backends of one remote by their names there; `link` leads to it.

    Attributes:
        seen: Whether anything is known of them, now or from an earlier life.
        on_seen: Called after each look.
    """

    def __init__(self, link: Link, folder: Path | None) -> None:
        self.link = link
        self._file = None if folder is None else folder / f"{link.name}.backends.json"
        self._backends: dict[str, RemoteBackend] = {}
        self._rates: dict[str, Rates] = {}
        self._rated: set[str] = set()
        self._asking = anyio.Lock()
        self._refreshed: float | None = None
        self._kind_known = link.settings.kind != "auto"
        self.seen = False
        self.on_seen: Callable[[], None] = _nobody

    async def open(self) -> None:
        """Ask the remote; where it does not answer, remember what was seen last."""
        seen = await anyio.to_thread.run_sync(self._recalled)
        if seen is not None:
            self.seen = True
            self._backends = {backend.backend: backend for backend in seen.backends}
            self._rates = dict(seen.rates)
            if self.link.settings.kind == "auto":
                self.link.orchestrator = seen.orchestrator
        reason = "the remote does not answer"
        with anyio.move_on_after(OPEN_LIMIT_S):  # the server starts whether or not the remote does
            try:
                await self.refresh()
            except (NotSent, Lost, Refused) as error:
                reason = str(error)
            else:
                return
        self.link.take_down(f"the remote does not tell its backends: {reason}")

    async def refresh(self, at_most_every_s: float = 0.0) -> None:
        """Look again, unless that was done a moment ago.

        Raises:
            NotSent, Lost, Refused: There was no answer; nothing has changed.
        """
        async with self._asking:
            now = self.link.clock.monotonic()
            if self._refreshed is not None and now - self._refreshed < at_most_every_s:
                return
            if not self._kind_known:
                await self._learn_kind()
            bodies = await self.link.ask(list[dict[str, Any]], "GET", f"{V04}/backends")
            self._backends = {backend.backend: backend for body in bodies if (backend := self._read(body)) is not None}
            self._refreshed, self.seen = now, True
            await self._learn_rates()
            seen = Seen(
                orchestrator=self.link.orchestrator, backends=list(self._backends.values()), rates=dict(self._rates)
            )
            await anyio.to_thread.run_sync(self._keep, seen)
        self.on_seen()

    def _read(self, body: dict[str, Any]) -> RemoteBackend | None:
        """A backend; one that cannot be read is none, and hides no others."""
        try:
            return msgspec.convert(body, RemoteBackend, strict=False)
        except msgspec.ValidationError as error:
            log.warning("remote backend cannot be read", remote=self.link.name, reason=str(error))
            return None

    async def _learn_rates(self) -> None:
        """Ask once what imported backends charge, but for simulators, which are free; what is not told is not known."""
        targets = {target for target in self.imports().values() if (found := self.find(target)) and not found.simulator}
        new, self._rated = targets - self._rated, self._rated | targets
        async with anyio.create_task_group() as asking:
            for target in new:
                asking.start_soon(self._learn_rate, target)

    async def _learn_rate(self, target: str) -> None:
        params = [("backend", target), ("type", CIRCUIT), ("shots", "1"), ("qubits", "1")]
        try:
            told = await self.link.ask(Estimate, "GET", f"{V04}/jobs/estimate", params=params, of_job=True)
        except (NotSent, Lost, Refused) as error:
            log.info("remote rates unknown", remote=self.link.name, backend=target, reason=str(error))
        else:
            self._rates[target] = _rates(told)

    async def until_seen(self) -> None:
        """Look for a remote of which nothing is known, until it tells its backends."""
        failures = 0
        while not self.seen:
            await self.link.recover()
            try:
                await self.refresh()
            except (NotSent, Lost, Refused) as error:
                log.info("remote backends unknown", remote=self.link.name, reason=str(error))
                failures += 1
                await self.link.pause(failures)

    async def _learn_kind(self) -> None:
        try:
            await self.link.ask(dict[str, Any], "GET", _FEED_SCHEMA)
        except Refused:
            self.link.orchestrator = False
        else:
            self.link.orchestrator = True
        self._kind_known = True

    def _recalled(self) -> Seen | None:
        if self._file is None or not self._file.exists():
            return None
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Seen)
        except (OSError, msgspec.DecodeError) as error:
            log.warning("what was known of a remote cannot be read", remote=self.link.name, reason=str(error))
            return None

    def _keep(self, seen: Seen) -> None:
        if self._file is None:
            return
        body = msgspec.json.encode(seen)
        try:
            if not self._file.exists() or self._file.read_bytes() != body:
                new = self._file.with_suffix(".new")
                new.write_bytes(body)
                new.replace(self._file)
        except OSError as error:
            log.warning("what is known of a remote cannot be kept", remote=self.link.name, reason=str(error))

    # -- looking ------------------------------------------------------------------------

    def imports(self) -> dict[str, str]:
        """Local name -> name at the remote, as the settings wish."""
        settings = self.link.settings
        if settings.prefix is None:
            return settings.backends
        return {settings.prefix + name: name for name, backend in self._backends.items() if backend.status != _RETIRED}

    def find(self, target: str) -> RemoteBackend | None:
        """A backend of the remote; None if it has none of that name."""
        return self._backends.get(target)

    def fault(self, target: str) -> str | None:
        """Why a backend can run nothing at present; None if it can."""
        if not self.seen:
            return f"the remote {self.link.name} has not told its backends yet"
        backend = self._backends.get(target)
        if backend is None:
            return f"the remote {self.link.name} has no backend {target}"
        return None if backend.status == _AVAILABLE else f"the remote says it is {backend.status}"

    def rates(self, target: str) -> Rates:
        """What the remote charges for a backend; nothing is known of one that it did not tell."""
        return self._rates.get(target, Rates())

    async def characterization(self, target: str, local: str, characterization_id: str) -> Characterization:
        """A calibration of the remote's, as one of the local backend.

        Raises:
            NotSent, Lost, Refused: There was no answer.
        """
        path = f"{V04}/backends/{target}/characterizations/{characterization_id}"
        found = await self.link.ask(RemoteCharacterization, "GET", path)
        return Characterization(
            id=local_id(local, found.id),
            backend=local,
            recorded_at=time_ms(found.date) or self.link.clock.now_ms(),
            qubits=found.qubits,
            connectivity=found.connectivity,
            fidelity=found.fidelity,
            timing=found.timing,
        )


def local_id(local: str, characterization_id: str) -> str:
    """The id of a remote's calibration here: one of its own for each local backend, since two can be of one machine."""
    return str(uuid5(_CALIBRATIONS, f"{local} {characterization_id}"))


def _rates(told: Estimate) -> Rates:
    [rate, *others] = told.rate_card.rates if told.rate_card is not None and told.rate_card.rates else [Rate()]
    model = _COST_MODELS.get(rate.unit or "")
    if rate.unit != _BY_GATE or others:  # no formula of ours
        return Rates(cost_model=model)
    amounts = {"gate_1q": rate.cost_1q_gate, "gate_2q": rate.cost_2q_gate, "job_minimum": rate.job_cost_minimum}
    known = {name: amount for name, amount in amounts.items() if amount is not None}
    try:
        return Rates(cost_model=model, prices=msgspec.convert({"unit": told.unit, **known}, Prices))
    except msgspec.ValidationError:
        return Rates(cost_model=model)


def capabilities(local: str, backend: RemoteBackend, rates: Rates, settings: RemoteSettings) -> Capabilities:
    """What an imported backend can do.

    What the remote does not list is not known: the remote decides. An empty list means none. Widths of noise models it
    does not tell.
    """
    simulator = backend.simulator
    natives, mitigations = backend.supported_native_gates, backend.supported_error_mitigations
    return Capabilities(
        backend=local,
        qubits=backend.qubits,
        kind="simulator" if simulator else "qpu",
        gates=tuple(backend.supported_gates or ()),
        native_gates=tuple(GATES["native"] if natives is None else natives),
        noise_models={name: NoiseModel(qubits=backend.qubits) for name in backend.noise_models or ()},
        error_mitigations=(DEBIASING, SYMMETRY_VERIFICATION) if mitigations is None else tuple(mitigations),
        physics=_physics(backend.backend),
        seeded=simulator,
        concurrency=settings.in_flight,
        families=True,
        recovers=True,
        run_limit_s=settings.run_limit_s,
        cost_model=backend.cost_model or rates.cost_model,
        prices=rates.prices,
        location=backend.location,
        power_kw=backend.kw,
    )


def _physics(target: str) -> str | None:
    """What the contract says of backends by its own names; of others nothing is known."""
    if target == "simulator":
        return "exact"
    return "noisy" if target.startswith("qpu.") else None
