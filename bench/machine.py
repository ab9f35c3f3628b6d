"""The machine a run happens on: which core does what, what processes cost, what the disk takes for a commit."""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Cores(msgspec.Struct, frozen=True):
    """Who runs where. With two cores the load generator shares PostgreSQL's: the service's is the service's alone."""

    service: int
    database: int
    clients: int


def cores() -> Cores:
    """The first cores this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[1 % len(allowed)], allowed[2 if len(allowed) > 2 else 1 % len(allowed)])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started in this block runs on ``core``, and so do its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def resident_bytes(pid: int) -> int:
    """The memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def cpu_seconds(pid: int, *, children: bool = False) -> float:
    """The processor time a process has used, or that its children have."""
    return sum(_cpu(entry) for entry in (_children(pid) if children else [Path(f"/proc/{pid}")]))


class Theft:
    """How much of all cores' time the hypervisor has given to others since this was made; a kernel says so itself."""

    def __init__(self) -> None:
        self._began = time.monotonic(), _stolen_seconds()

    @property
    def share(self) -> float:
        """Of the time of all cores."""
        began, stolen = self._began
        return (_stolen_seconds() - stolen) / (time.monotonic() - began) / (os.cpu_count() or 1)


def _stolen_seconds() -> float:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / _TICKS if len(fields) > 8 else 0.0


def _children(pid: int) -> Iterator[Path]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _stat(entry)[1:2] == [str(pid)]:
            yield entry


def _cpu(entry: Path) -> float:
    stat = _stat(entry)
    return (int(stat[11]) + int(stat[12])) / _TICKS if stat else 0.0


def _stat(entry: Path) -> list[str]:
    """The fields of /proc/…/stat from the state on; none when the process is gone."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def processor() -> str:
    """The processor as the kernel names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"


def sync_seconds(folder: Path, tries: int = 100) -> float:
    """The median time in which the disk below ``folder`` takes a page for good: no commit can be faster."""
    path = folder / "sync-probe"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, b"\0" * 8192, 0)
        times = []
        for _ in range(tries):
            began = time.perf_counter()
            os.pwrite(descriptor, os.urandom(8192), 0)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
        return statistics.median(times)
    finally:
        os.close(descriptor)
        path.unlink()
