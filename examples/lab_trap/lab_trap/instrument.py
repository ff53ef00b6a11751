"""A stand-in for the control computer of an ion trap: a program that speaks a line protocol over TCP.

    python -m lab_trap.instrument --port 7070 --loss 0.001 --seed 1

It holds five ions, runs native pulses on them one program at a time, and now and then loses an ion; then it has to
be loaded again. Each command is one line and is answered by one line, ``OK ...`` or ``ERR CODE WORDS``:

    STATUS                           OK ions=5 of=5 door=closed running=- calibration=1
    CALIBRATION                      OK number=1 at=1767225600 spam=0.996 one=0.9997 two=0.985
    LOAD                             OK ions=5
    RUN TAG SHOTS PULSE;PULSE;...    SHOT 01011, once a shot, ion 0 first, then OK shots=100
    ABORT TAG                        OK, once the run of that tag is over; it will not run later either. ABORT * is any
    DOOR open|closed                 OK; the operator's: an open door is an interlock, and stops a run
    CALIBRATE                        OK number=2; the operator's

A pulse is ``gpi Q PHASE``, ``gpi2 Q PHASE`` or ``ms Q Q PHASE PHASE ANGLE``, in turns. A connection that is closed
stops nothing: the run goes on to its end, as machines do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.circuits.gates import matrix
from orchestrator.circuits.ir import Gate

IONS = 5


class Refused(Exception):
    """The answer is ``ERR``, with this text."""


class Instrument:
    """The trap: its ions, its door, its calibration, and the one program that runs.

    Args:
        loss: Probability that a shot loses an ion.
        shot_s: Time of a shot, seconds.
    """

    def __init__(self, *, loss: float = 0.0, shot_s: float = 0.0, seed: int = 0) -> None:
        self._loss = loss
        self._shot_s = shot_s
        self._rng = random.Random(seed)
        self._ions = 0
        self._door = "closed"
        self._calibration = 1
        self._running = ""
        self._stop = ""
        self._aborted: deque[str] = deque(maxlen=100)
        self._idle = asyncio.Event()
        self._idle.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a line, an answer."""
        with contextlib.suppress(ConnectionError):
            while line := (await reader.readline()).decode("ascii", "replace").strip():
                async for answer in self._answers(line):
                    if not writer.is_closing():
                        writer.write(f"{answer}\n".encode())
                await writer.drain()
        writer.close()

    async def _answers(self, line: str) -> AsyncIterator[str]:
        command, _, rest = line.partition(" ")
        try:
            if command == "RUN":
                async for shot in self._run(rest):
                    yield f"SHOT {shot}"
                yield "OK"
            else:
                yield f"OK {await self._do(command, rest)}".strip()
        except (Refused, ValueError, KeyError) as error:
            text = str(error) if isinstance(error, Refused) else f"syntax cannot read {command!r}"
            yield f"ERR {text}"

    async def _do(self, command: str, rest: str) -> str:
        match command:
            case "STATUS":
                running = self._running or "-"
                return (
                    f"ions={self._ions} of={IONS} door={self._door} running={running} calibration={self._calibration}"
                )
            case "CALIBRATION":
                drift = random.Random(self._calibration)
                spam, one, two = (round(top - drift.random() * 0.002, 5) for top in (0.998, 0.9999, 0.988))
                at = 1_767_225_600 + 3_600 * (self._calibration - 1)
                return f"number={self._calibration} at={at} spam={spam} one={one} two={two}"
            case "LOAD":
                if self._running:
                    raise Refused(f"busy running {self._running}")
                self._ions = IONS
                return f"ions={self._ions}"
            case "ABORT":
                self._aborted.append(rest)
                if rest in {self._running, "*"}:
                    self._stop = "aborted on request"
                    await self._idle.wait()
                return ""
            case "DOOR" if rest in {"open", "closed"}:
                self._door = rest
                return ""
            case "CALIBRATE":
                self._calibration += 1
                return f"number={self._calibration}"
        raise ValueError(command)

    async def _run(self, rest: str) -> AsyncIterator[str]:
        tag, shots, *program = rest.split(" ", 2)
        pulses = [_pulse(words) for words in "".join(program).split(";") if words]
        if self._running:
            raise Refused(f"busy running {self._running}")
        if tag in self._aborted:
            raise Refused("aborted on request")
        if self._ions < IONS:
            raise Refused(f"lost {self._ions} of {IONS} ions are in the trap")
        self._running, self._stop, self._idle = tag, "", asyncio.Event()
        try:
            weights = _probabilities(pulses)
            for number in range(int(shots)):
                if self._shot_s or number % 100 == 0:
                    await asyncio.sleep(self._shot_s)
                if self._stop:
                    raise Refused(self._stop)
                if self._door == "open":
                    raise Refused("interlock the door is open")
                if self._rng.random() < self._loss:
                    self._ions -= 1
                    raise Refused(f"lost an ion left at shot {number}")
                [outcome] = self._rng.choices(range(len(weights)), weights)
                yield "".join(str(outcome >> ion & 1) for ion in range(IONS))
        finally:
            self._running = ""
            self._idle.set()


def _pulse(words: str) -> Gate:
    name, *numbers = words.split()
    ions = 2 if name == "ms" else 1
    return Gate(name, tuple(map(int, numbers[:ions])), params=tuple(map(float, numbers[ions:])))


def _probabilities(pulses: Sequence[Gate]) -> list[float]:
    """Of each outcome; bit k is ion k. The physics of a machine without noise."""
    state = [1 + 0j] + [0j] * (2**IONS - 1)
    for pulse in pulses:
        rows = matrix(pulse, "native")
        for places in _blocks([1 << ion for ion in reversed(pulse.targets)]):
            before = [state[place] for place in places]
            for place, row in zip(places, rows, strict=True):
                state[place] = sum(factor * amplitude for factor, amplitude in zip(row, before, strict=True))
    return [abs(amplitude) ** 2 for amplitude in state]


def _blocks(bits: Sequence[int]) -> Iterator[list[int]]:
    """Indices of the amplitudes that a pulse on these bits mixes, in the order of its matrix."""
    for base in range(2**IONS):
        if not any(base & bit for bit in bits):
            yield [
                base + sum(bit for place, bit in enumerate(bits) if row >> place & 1) for row in range(2 ** len(bits))
            ]


@contextmanager
def running(**options: float) -> Iterator[dict[str, Any]]:
    """An instrument in a process of its own, for tests: give its options, get the settings that lead to it."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "lab_trap.instrument", "--port=0", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            yield {"host": "127.0.0.1", "port": int(process.stdout.readline().rpartition(":")[2])}
        finally:
            process.terminate()


async def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; the first line of the output tells where."""
    parser = argparse.ArgumentParser(description="A stand-in for an ion trap, over TCP.")
    parser.add_argument("--port", type=int, default=7070, help="0 takes a free one")
    parser.add_argument("--loss", type=float, default=0.0, help="probability that a shot loses an ion")
    parser.add_argument("--shot-s", type=float, default=0.0, help="time of a shot, seconds")
    parser.add_argument("--seed", type=int, default=0, help="of outcomes and losses")
    given = parser.parse_args(arguments)
    instrument = Instrument(loss=given.loss, shot_s=given.shot_s, seed=given.seed)
    server = await asyncio.start_server(instrument.serve, "127.0.0.1", given.port, limit=2**20)
    print("listening on {}:{}".format(*server.sockets[0].getsockname()), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
