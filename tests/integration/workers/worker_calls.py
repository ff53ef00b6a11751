"""Functions that worker processes run in tests, named as ``worker_calls:function``."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time

from orchestrator.errors import ExecutionError


def double(payload: bytes) -> bytes:
    return json.dumps(2 * json.loads(payload)).encode()


def where(payload: bytes) -> bytes:
    """What the worker is: process, group, session, environment, limits."""
    return json.dumps(
        {
            "pid": os.getpid(),
            "group": os.getpgid(0),
            "session": os.getsid(0),
            "omp": os.environ["OMP_NUM_THREADS"],
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "cpu": resource.getrlimit(resource.RLIMIT_CPU)[0],
            "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
            "sigint": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        }
    ).encode()


def fail(payload: bytes) -> bytes:
    """Fail in the way the payload names."""
    match json.loads(payload):
        case "execution":
            raise ExecutionError("SimulationError", "too wide", retryable=True)
        case "value":
            raise ValueError("a secret")
        case "exit":
            sys.exit(3)
        case "type":
            return "text"  # type: ignore[return-value]
    return payload


def die_of_poison(payload: bytes) -> bytes:
    """Kill the process if the payload is poison."""
    if json.loads(payload) == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return payload


def raise_signal(payload: bytes) -> bytes:
    os.kill(os.getpid(), json.loads(payload))
    return payload


def hang(payload: bytes) -> bytes:
    """Open the named pipe of the payload, tell this process's id there, and never come back; 0 returns at once."""
    if (path := json.loads(payload)) != 0:
        _tell(path)
        time.sleep(3600)
    return payload


def hang_with_child(payload: bytes) -> bytes:
    """As `hang`, with a process of its own that holds the pipe open too."""
    pipe = _tell(json.loads(payload))
    subprocess.run([sys.executable, "-c", "import time; time.sleep(3600)"], pass_fds=(pipe,), check=True)
    return payload


def _tell(path: str) -> int:
    pipe = os.open(path, os.O_WRONLY)
    os.write(pipe, b"%d" % os.getpid())
    return pipe


def hold_interpreter_lock(payload: bytes) -> bytes:
    """One long call in C, during which no other thread of this process runs."""
    return json.dumps(sum(range(json.loads(payload)))).encode()


def allocate(payload: bytes) -> bytes:
    return json.dumps(len(bytearray(json.loads(payload)))).encode()


def chatter(payload: bytes) -> bytes:
    """Read and write the standard streams as careless libraries do."""
    sys.stdout.write("stray line\n")
    sys.stdout.flush()
    os.write(1, b"stray bytes\n")
    return json.dumps(sys.stdin.read()).encode()


def disturb(payload: bytes) -> bytes:
    """Write noise into every socket of this process."""
    for descriptor in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, b"noise" * 20)
        except OSError:
            continue
    return payload


def grow(payload: bytes) -> bytes:
    """An answer of as many bytes as the payload says."""
    return b"1" * int(json.loads(payload))
