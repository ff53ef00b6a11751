"""A server with every faulty plugin there is: jobs end with the right code, all else goes on, and it always ends."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import anyio
import anyio.to_thread
import pytest
from aiohttp import ClientSession, WSMsgType

from orchestrator.cli.ending import FORCED
from orchestrator.cli.owner import owner
from tests.integration.cli.conftest import environment

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Run, Serve, Server

LAB = Path(__file__).parents[1] / "backends" / "faulty_lab.py"
#: Backend of the lab, by the name of its class.
POINTS = {
    "fails_at_import": "faulty_import:Adapter",
    "exits_at_import": "faulty_exit:Adapter",
    "hangs_at_import": "faulty_hang:Adapter",
    "answers": "faulty_lab:Answers",
    "answers_isolated": "faulty_lab:AnswersIsolated",
    "blocks": "faulty_lab:Blocks",
    "blocks_for_good": "faulty_lab:BlocksForGood",
    "spins_for_good": "faulty_lab:SpinsForGood",
    "blocks_at_open": "faulty_lab:BlocksAtOpen",
    "exits_at_open": "faulty_lab:ExitsAtOpen",
    "hangs": "faulty_lab:Hangs",
    "hangs_in_thread": "faulty_lab:HangsInThread",
    "keeps_threads": "faulty_lab:KeepsThreads",
    "kills": "faulty_lab:Kills",
    "leaks": "faulty_lab:Leaks",
    "raises": "faulty_lab:Raises",
    "raises_plain": "faulty_lab:RaisesPlain",
    "raises_isolated": "faulty_lab:RaisesIsolated",
    "swallows": "faulty_lab:Swallows",
    "swallows_at_close": "faulty_lab:SwallowsAtClose",
}
KEY = "a-key-given-from-outside"
LIMIT_S = 60.0
#: What the operations page promises.
STOP_S = 10.0
BELL = [{"gate": "h", "target": 0}, {"gate": "cnot", "control": 0, "target": 1}]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with the distribution of all of them, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "faulty_lab.py").write_text(LAB.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "faulty_import.py").write_text("raise RuntimeError('no driver')\n", encoding="utf-8")
    (folder / "faulty_exit.py").write_text("import sys\nsys.exit('no driver')\n", encoding="utf-8")
    (folder / "faulty_hang.py").write_text("import threading\nthreading.Event().wait()\n", encoding="utf-8")
    information = folder / "faulty_lab-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-lab\nVersion: 0.1\n", encoding="utf-8")
    lines = ["[orchestrator.backends]", *(f"{name} = {value}" for name, value in POINTS.items())]
    (information / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


class Lab:
    """A server with these plugins and the simulator."""

    def __init__(self, serve: Serve, folder: Path, plugins: str, *names: str, **dispatch: object) -> None:
        self.serve, self.folder, self.plugins, self.names, self.dispatch = serve, folder, plugins, names, dispatch
        listed = ", ".join(f'"{name}"' for name in dict.fromkeys((*names, "noise_model")))
        limits = {"lease_s": 1.0, "retry_base_s": 0.0, "import_limit_s": 0.5, "blocked_ms": 50, **dispatch}
        table = "\n".join(f"{name} = {value}" for name, value in limits.items())
        config = folder / "settings.toml"
        config.write_text(f"backends = [{listed}]\n[dispatch]\n{table}\n", encoding="utf-8")
        self.variables = {"PYTHONPATH": plugins, "ORCHESTRATOR_BOOTSTRAP_KEY": KEY}
        self.data = folder / "data"
        self.server: Server = serve(self.data, "--config", str(config), **self.variables)

    def submit(self, backend: str, name: str | None = None) -> str:
        body = {
            "type": "ionq.circuit.v1",
            "backend": backend,
            "shots": 100,
            "input": {"qubits": 2, "circuit": BELL},
            **({} if name is None else {"name": name}),
        }
        headers = {"Authorization": f"apiKey {KEY}", "Content-Type": "application/json"}
        request = Request(f"{self.server.url}/v0.4/jobs", json.dumps(body).encode(), headers)  # noqa: S310
        with urlopen(request, timeout=LIMIT_S) as response:  # noqa: S310
            answer: dict[str, str] = json.load(response)
        return answer["id"]

    def submit_blocking(self, backend: str) -> str:
        """A job that blocks the server before that could answer: so it is accepted while its backend is paused."""
        self.own("POST", f"/backends/{backend}/pause")
        job_id = self.submit(backend)

        def resume() -> None:
            with suppress(Exception):
                self.own("POST", f"/backends/{backend}/resume")

        threading.Thread(target=resume, daemon=True).start()
        return job_id

    def own(self, method: str, path: str) -> Any:
        """What the owner's door answers."""

        async def ask() -> Any:
            async with owner(self.data) as client:
                return await client.owner_ask(object, method, path)

        return asyncio.run(ask())

    def adapters(self) -> dict[str, dict[str, Any]]:
        """All adapters by name, as the server has them."""
        return {each["name"]: each for each in self.own("GET", "/adapters")}

    def job(self, job_id: str) -> dict[str, Any]:
        status, job = self.server.ask(f"/v0.4/jobs/{job_id}", KEY)
        assert status == 200
        found: dict[str, Any] = job
        return found

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job, once it has ended."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            try:
                job = self.job(job_id)
            except OSError:  # it is starting anew
                continue
            if job["status"] in {"completed", "failed", "canceled"}:
                return job
        raise TimeoutError(f"{job_id} has not ended")

    def bell(self) -> None:
        """The other backend runs a Bell job, now."""
        assert self.ended(self.submit("simulator"))["status"] == "completed"

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is so, over starts anew."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            with suppress(Exception):
                if holds():
                    return
        raise TimeoutError

    def blocked(self) -> None:
        """Wait until the event loop stands still."""
        errors = self.server.process.stderr
        assert errors is not None
        while "adapter blocks the event loop" not in errors.readline():
            pass

    def again(self, *names: str) -> Lab:
        """Another life on the same data, with other backends if some are named."""
        return Lab(self.serve, self.folder, self.plugins, *(names or self.names), **self.dispatch)

    def stop(self) -> tuple[int, list[dict[str, Any]]]:
        """Ends it with SIGTERM, in time; exit code and log."""
        begun = time.monotonic()
        code, out, err = self.server.stop()
        assert time.monotonic() - begun < STOP_S
        assert out == ""
        return code, [json.loads(line) for line in err.splitlines() if line.startswith("{")]


@pytest.fixture
def lab(serve: Serve, tmp_path: Path, plugins: str) -> Any:
    """Makes a `Lab`."""

    def made(*names: str, **dispatch: object) -> Lab:
        return Lab(serve, tmp_path, plugins, *names, **dispatch)

    return made


FAILED = "failed"
INTERNAL = "InternalError"
#: Backend, name of the job, how it ends.
ENDS = [
    *(
        (backend, name, FAILED, INTERNAL)
        for backend in ("answers", "answers_isolated")
        for name in ("counts", "nan", "text", "nothing")
    ),
    *(
        (backend, name, FAILED, INTERNAL)
        for backend in ("raises", "raises_plain", "raises_isolated")
        for name in ("exit", "unheard", "interrupt", "value")
    ),
    ("hangs", None, FAILED, "SimulationTimeout"),
    ("hangs_in_thread", None, FAILED, "SimulationTimeout"),
    ("swallows", None, FAILED, "SimulationTimeout"),
    ("kills", None, FAILED, INTERNAL),
    ("blocks", None, "completed", None),
    ("leaks", None, "completed", None),
]


def test_every_fault_ends_its_own_job_and_nothing_else(lab: Any) -> None:
    """A Bell job completes on the other backend beside each of them; then SIGTERM ends the process in good order."""
    service = lab(*(name for name in POINTS if not name.endswith(("_for_good", "blocks_at_open"))))
    unavailable = [each for each in service.adapters().values() if each["status"] == "unavailable"]
    reasons = {each["name"]: each["reason"] for each in unavailable}
    assert reasons.keys() == {"fails_at_import", "exits_at_import", "hangs_at_import", "exits_at_open"}
    assert reasons["fails_at_import"] == "RuntimeError: no driver"
    assert reasons["exits_at_import"] == "SystemExit: no driver"
    assert reasons["hangs_at_import"].startswith("it hangs at import: not through after 0.5 s, at ")
    assert "faulty_hang.py:2" in reasons["hangs_at_import"]
    for backend, name, status, code in ENDS:
        job_id = service.submit(backend, name)
        service.bell()
        job = service.ended(job_id)
        failure = job.get("failure") or {}
        assert (backend, name, job["status"], failure.get("code")) == (backend, name, status, code)
    for backend in "hangs", "swallows":
        service.submit(backend)
    service.bell()
    code, log = service.stop()
    assert (code, [entry["event"] for entry in log[-2:]]) == (0, ["stopped", "ended without threads that do not end"])
    assert [told.partition(":")[0] for told in log[-1]["threads"]] == ["vendor"]
    left = {(entry["what"], entry.get("backend") or entry["adapter"]) for entry in log if "what" in entry}
    assert left >= {("aclose", "swallows_at_close"), ("run", "swallows")}


def told(service: Lab, run: Run, job_id: str) -> list[tuple[str, str | None]]:
    """What the log has of a job: kinds, and reasons."""
    events = run("events", "--data", str(service.data), "--job", job_id, "--json").documents
    moves = [each for each in events if each["type"] == "event"]
    return [(each["kind"].removeprefix("job."), (each["data"] or {}).get("reason")) for each in moves]


BLOCKED = "the backend blocked the event loop"


def test_a_loop_that_is_blocked_for_good_is_left_for_another_life(lab: Any, run: Run) -> None:
    """The same process goes on, at the same address: its job has failed once and is run in a worker process.

    That holds over an ordinary restart, and is shown, until an operator restarts the plugin.
    """
    service = lab("blocks_for_good", blocked_limit_s=0.5)
    job_id = service.submit_blocking("blocks_for_good")
    assert service.ended(job_id)["status"] == "completed"
    service.bell()
    assert service.server.process.poll() is None
    assert told(service, run, job_id) == [
        ("submitted", None), ("ready", None), ("started", None), ("requeued", BLOCKED), ("started", None),
        ("completed", None),
    ]  # fmt: skip
    moved = service.adapters()["blocks_for_good"]["moved"]
    assert "it blocked the event loop for 0.5 s, at " in moved
    assert moved.endswith("(BlocksForGood.run)")
    code, log = service.stop()
    assert code == 0
    names = [entry["event"] for entry in log]
    assert names.index("the event loop stands still") < names.index("starting anew") < names.index("stopped")
    assert names.count("serving") == 2
    offline = run("plugins", "list", "--data", str(service.data), "--json", **service.variables).document
    assert {each["plugin"]: each["moved"] for each in offline}["blocks_for_good"] == moved

    again = service.again()
    assert again.ended(again.submit("blocks_for_good"))["status"] == "completed"
    assert run("plugins", "restart", "blocks_for_good", "--data", str(service.data)).code == 0
    assert again.adapters()["blocks_for_good"]["moved"] == ""
    assert again.stop()[0] == 0


def test_an_adapter_that_cannot_leave_the_server_is_left_out(lab: Any, run: Run) -> None:
    """After it has blocked the loop for good: the others go on, its job waits, an operator can let it try again."""
    service = lab("spins_for_good", "blocks_at_open", blocked_limit_s=0.5)
    reason = service.adapters()["blocks_at_open"]["reason"]  # it has blocked the start already
    assert reason.startswith("left out: it blocked the event loop for 0.5 s, at ")
    job_id = service.submit_blocking("spins_for_good")
    service.until(lambda: service.adapters()["spins_for_good"]["status"] == "unavailable")
    service.bell()
    assert service.job(job_id)["status"] == "ready"
    for _ in range(2):
        with suppress(Exception):  # it blocks before it has answered
            service.own("POST", "/adapters/spins_for_good/enable")
        service.until(lambda: service.adapters()["spins_for_good"]["status"] == "unavailable")
    failure = service.ended(job_id)["failure"]
    assert (failure["code"], failure["message"]) == (INTERNAL, BLOCKED)
    service.bell()
    assert service.stop()[0] == 0


@pytest.mark.parametrize("backend", ["blocks_for_good", "spins_for_good"])
def test_sigterm_ends_a_process_whose_loop_stands_still(backend: str, lab: Any) -> None:
    """In time, by force: the code says so, the log names the adapter and its line. Nothing acknowledged is lost."""
    service = lab(backend, blocked_limit_s=0, drain_s=0)
    job_id = service.submit_blocking(backend)
    service.blocked()
    code, log = service.stop()
    assert code == FORCED
    (forced,) = [entry for entry in log if entry["event"] == "ended by force"]
    assert (forced["adapter"], forced["code"]) == (backend, FORCED)
    assert Path(forced["file"]).name == "faulty_lab.py"
    again = service.again("noise_model")
    assert again.job(job_id)["status"] == "ready"
    again.bell()
    assert again.stop()[0] == 0


def test_a_second_signal_ends_at_once(lab: Any) -> None:
    """Whoever is impatient need not wait for the limit."""
    service = lab("spins_for_good", blocked_limit_s=0, drain_s=60)
    service.submit_blocking("spins_for_good")
    service.blocked()
    service.server.process.send_signal(signal.SIGTERM)
    errors = service.server.process.stderr
    assert errors is not None
    while '"stopping"' not in errors.readline():
        pass
    assert service.stop()[0] == 128 + signal.SIGTERM


def test_a_signal_during_the_start_ends_it(lab: Any, plugins: str, tmp_path: Path) -> None:
    """A plugin that takes long to import keeps nobody."""
    config = tmp_path / "settings.toml"
    config.write_text('backends = ["hangs_at_import"]\n[dispatch]\nimport_limit_s = 0\n', encoding="utf-8")
    command = [sys.executable, "-m", "orchestrator.cli", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path / "data"), "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(PYTHONPATH=plugins),
    )
    with process:
        try:
            lock = tmp_path / "data" / "orchestrator.db"
            while not lock.exists():
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=STOP_S)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "")
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["stopping"]


async def test_feeds_are_closed_in_order_while_an_adapter_does_not_end(lab: Any) -> None:
    """The loop still turns: clients get 1001, and the store is closed as ever."""
    service = lab("swallows", drain_s=0.2)
    await anyio.to_thread.run_sync(service.submit, "swallows")
    headers = {"Authorization": f"apiKey {KEY}"}
    async with (
        ClientSession() as session,
        session.ws_connect(f"{service.server.url}/events/v1", headers=headers) as feed,
    ):
        assert (await feed.receive_json())["type"] == "live"
        async with anyio.create_task_group() as tasks:
            stopped = []
            tasks.start_soon(lambda: anyio.to_thread.run_sync(lambda: stopped.append(service.stop())))
            while (message := await feed.receive()).type is WSMsgType.TEXT:
                pass
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
    assert stopped[0][0] == 0
