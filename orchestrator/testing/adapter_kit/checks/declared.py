"""Checks of what an adapter declares and tells about itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from orchestrator.backends.abc import Adapter, Capabilities
from orchestrator.circuits.gates import GATES
from orchestrator.model import BackendState, Characterization
from orchestrator.testing.adapter_kit.bench import Bench
from orchestrator.testing.adapter_kit.host import hosted

#: What clients know how to show (reference: ``GET /backends``).
_STATUSES: Final = ("available", "unavailable", "running", "reserved", "calibrating", "offline", "retired")
_COST_MODELS: Final = (None, "QCT", "2QGE_operations")
_PHYSICS: Final = (None, "exact", "noisy")
#: What is asked at every listing or submit has to be there at once, seconds.
_QUICK_S: Final = 0.05
_TRIES: Final = 5


async def check_capabilities(bench: Bench) -> None:
    """Capabilities make sense, are the same whenever they are asked for, and the same of the next adapter."""
    async with hosted(bench) as host:
        before = list(host.adapter.capabilities())
        names = [each.backend for each in before]
        assert len(set(names)) == len(names), f"two backends of one name: {names}"
        for each in before:
            fault = _unsound(each)
            assert not fault, f"{each.backend}: {fault}"
        for backend in host.backends:
            await host.ended(await host.submit(backend))
        assert list(host.adapter.capabilities()) == before, "capabilities changed after a job; they are constant"
    async with hosted(bench) as host:
        assert list(host.adapter.capabilities()) == before, "another adapter of the same settings declares otherwise"


def _unsound(told: Capabilities) -> str:
    """Why these capabilities cannot be true; empty if they can."""
    try:
        msgspec.convert(msgspec.to_builtins(told), Capabilities)
    except (msgspec.MsgspecError, TypeError) as error:
        return f"a member is of the wrong type: {error}"
    known = set(GATES["native"])
    rules = {
        "its name is not printable text without spaces": told.backend.isprintable() and " " not in told.backend,
        "it has no name": bool(told.backend),
        "kind is neither simulator nor qpu": told.kind in {"simulator", "qpu"},
        "qubits is below 1": told.qubits >= 1,
        "gatesets names none, or one that does not exist": bool(told.gatesets) and set(told.gatesets) <= set(GATES),
        f"native_gates are of {' '.join(sorted(known))}": set(told.native_gates) <= known,
        "it accepts native circuits and has no native gates": "native" not in told.gatesets or bool(told.native_gates),
        "max_shots is below 1": told.max_shots >= 1,
        "max_circuits is below 1": told.max_circuits >= 1,
        "concurrency is below 1": told.concurrency >= 1,
        "batch is below 1": told.batch >= 1,
        "run_limit_s is negative or no number": 0 <= told.run_limit_s < math.inf,
        "a noise model is narrower than one qubit": all(model.qubits >= 1 for model in told.noise_models.values()),
        f"cost_model is one of {_COST_MODELS}": told.cost_model in _COST_MODELS,
        f"physics is one of {_PHYSICS}": told.physics in _PHYSICS,
        "power_kw is negative or no number": told.power_kw is None or 0 <= told.power_kw < math.inf,
    }
    return next((fault for fault, holds in rules.items() if not holds), "")


async def check_prepare_is_called(bench: Bench) -> None:
    """What an adapter's `prepare` does is done: `instant_prepare` is false where there is one."""
    async with hosted(bench) as host:
        own = type(host.adapter).prepare is not Adapter.prepare
        instant = [each.backend for each in host.backends if each.instant_prepare]
        assert not own or len(instant) < len(host.backends), (
            f"it has a prepare of its own, which nobody calls: {', '.join(instant)} declares instant_prepare"
        )


async def check_state(bench: Bench) -> None:
    """`state` answers at once, for every backend, with a status that people know."""
    async with hosted(bench) as host:
        for backend in host.backends:
            state, seconds = _timed(lambda name=backend.backend: host.adapter.state(name))  # type: ignore[misc]
            assert isinstance(state, BackendState), f"state answered a {type(state).__name__}"
            try:
                msgspec.convert(msgspec.to_builtins(state), BackendState)
            except msgspec.ValidationError as error:
                raise AssertionError(f"state has a member of the wrong type: {error}") from None
            assert state.backend == backend.backend, f"state of {backend.backend} is of {state.backend!r}"
            assert state.status in _STATUSES, f"status {state.status!r} is none of {', '.join(_STATUSES)}"
            assert seconds < _QUICK_S, f"state took {seconds * 1000:.0f} ms; everybody who lists backends waits for it"
            recorded = state.characterization_id
            if recorded is not None:
                known = await host.orchestrator.backends.characterization(backend.backend, recorded)
                assert known is not None, f"state names the characterization {recorded}, which was never recorded"


async def check_predictions(bench: Bench) -> None:
    """`predict_ms` and `wall_ms` answer at once, with numbers that a duration can be."""
    async with hosted(bench) as host:
        for backend in host.backends:
            for shots in (1, bench.most_shots(backend)):
                spec = (await host.ended(await host.submit(backend, shots=shots))).spec
                told, seconds = _timed(lambda spec=spec: host.adapter.predict_ms(spec))  # type: ignore[misc]
                assert told is None or (type(told) is int and told >= 0), f"predict_ms of {shots} shots is {told!r}"
                assert seconds < _QUICK_S, f"predict_ms took {seconds * 1000:.0f} ms; it is asked at every submit"
        for execution_ms in (0, 1, 3_600_000):
            wall = host.adapter.wall_ms(execution_ms)
            fine = isinstance(wall, int | float) and 0 <= wall < math.inf
            assert fine, f"wall_ms({execution_ms}) is {wall!r}"


async def check_characterizations(bench: Bench) -> None:
    """Characterizations are of its own backends, in range, and keep their ids; results name recorded ones."""
    async with hosted(bench) as host:
        first = list(host.adapter.initial_characterizations())
        again = [each.id for each in host.adapter.initial_characterizations()]
        assert [each.id for each in first] == again, "initial_characterizations has other ids when asked again"
        assert len(set(again)) == len(again), "two characterizations have the same id"
        own = {each.backend for each in host.adapter.capabilities()}
        for each in first:
            assert each.backend in own, f"a characterization of {each.backend!r}, which it does not serve"
            fault = _improbable(each)
            assert not fault, f"characterization of {each.backend}: {fault}"
        for backend in host.backends:
            result = await host.run(backend)
            recorded = result.characterization_id
            if recorded is not None:
                known = await host.orchestrator.backends.characterization(backend.backend, recorded)
                assert known is not None, f"a result names the characterization {recorded}, which was never recorded"


def _improbable(record: Characterization) -> str:
    try:
        msgspec.convert(msgspec.to_builtins(record), Characterization)
    except (msgspec.MsgspecError, TypeError) as error:
        return f"a member is of the wrong type: {error}"
    if not record.id or record.qubits < 1:
        return "it has no id, or no qubits"
    if any(not 0 <= wire < record.qubits for pair in record.connectivity for wire in pair):
        return f"connectivity names a qubit beyond its {record.qubits}"
    for gate, numbers in record.fidelity.items():
        for name, value in numbers.items():
            low_is_odd = name != "stderr" and value is not None and not 0 <= value <= 1
            if value is not None and (not math.isfinite(value) or low_is_odd):
                return f"fidelity {gate}.{name} is {value}, where it goes from 0 to 1"
    for name, seconds in record.timing.items():
        if not 0 <= seconds < math.inf:
            return f"timing {name} is {seconds} seconds"
    return ""


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call answers, and the shortest time of a few it took: others may have had the processor."""
    times = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - began)
        if times[-1] < _QUICK_S:
            break
    return answer, min(times)
