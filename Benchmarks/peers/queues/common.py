"""What the peers of the job queue share: their options, their worker processes, the clock and the checks.

A peer enqueues no-op jobs, starts its worker processes, and is timed from the first job's start until its database holds
the last one as done. A run in which a job did not run exactly once fails. `--latency K` measures an idle worker instead.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit, urlunsplit

PROCESSES = multiprocessing.get_context("spawn")
WARM_UP, PAUSE, PATIENCE = 10, 0.05, 60


class Record:
    """What the handlers did, in memory that all processes share. Every worker writes to places of its own."""

    def __init__(self, workers: int, jobs: int):
        self.jobs = jobs
        self.started = PROCESSES.RawArray("q", workers)
        self.handled = PROCESSES.RawArray("q", workers)
        self.runs = PROCESSES.RawArray("B", workers * jobs)
        self.latencies = PROCESSES.RawArray("q", jobs)
        self.barrier = PROCESSES.Barrier(workers)

    def ready(self) -> None:
        """Called by a worker before it starts: none works while others still import."""
        self.barrier.wait(PATIENCE)

    def mark(self, worker: int, number: int, sent: int = 0) -> None:
        """Called by the handler. The monotonic clock is the same in every process."""
        now = time.monotonic_ns()
        if not self.started[worker]:
            self.started[worker] = now
        if sent:
            self.latencies[number] = now - sent
        self.runs[worker * self.jobs + number] += 1
        self.handled[worker] += 1

    def start(self) -> int:
        return min(start for start in self.started if start)

    def not_once(self) -> list[str]:
        wrong = sum(sum(self.runs[number::self.jobs]) != 1 for number in range(self.jobs))
        return [f"{wrong} jobs did not run exactly once"] if wrong else []


class Peer(ABC):
    """One library. Every worker process gets a copy, so it holds settings and no connections."""

    package: str
    notes: str
    # The defaults of the options: its best on two cores.
    batch: int
    concurrency: int
    processes: int
    run: Callable[[Coroutine], Any] = staticmethod(asyncio.run)

    def __init__(self, options: argparse.Namespace):
        self.options = options
        if options.concurrency is None:
            options.concurrency = 1 if options.latency else self.concurrency
        options.processes = options.processes or self.processes

    @abstractmethod
    def database(self) -> AbstractContextManager[bool]:
        """A fresh database, and whether what it has committed is on disk."""

    @abstractmethod
    def connect(self) -> AbstractAsyncContextManager[Any]:
        """The queue as the producer uses it, with its tables made."""

    @abstractmethod
    async def enqueue(self, queue: Any, numbers: range) -> None:
        """Enqueues many jobs."""

    @abstractmethod
    async def send(self, queue: Any, number: int) -> None:
        """Enqueues one job that carries the time."""

    @abstractmethod
    async def unfinished(self, queue: Any) -> int:
        """How many jobs the database does not hold as done."""

    @abstractmethod
    async def faults(self, queue: Any) -> list[str]:
        """What is wrong in the database when all is done."""

    @abstractmethod
    async def work(self, record: Record, worker: int) -> None:
        """Works until the process is terminated."""

    def settle(self) -> None:
        """What the database does by itself in time, and had no time for."""


class PostgresPeer(Peer):
    """A peer in a database of its own on the server at `--url`."""

    @contextmanager
    def database(self) -> Iterator[bool]:
        import psycopg

        if not self.options.url:
            sys.exit("--url is missing")
        name = f"{self.package}_{os.getpid()}"
        parts = urlsplit(self.options.url)
        # asyncpg takes what it does not know for a setting of the server.
        query = "&".join(part for part in parts.query.split("&") if not part.startswith("connect_timeout="))
        self.url = urlunsplit((parts.scheme, parts.netloc, f"/{name}", query, ""))
        with psycopg.connect(self.options.url, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name}")
            try:
                server.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
                settings = server.execute("SELECT current_setting('fsync'), current_setting('full_page_writes')").fetchone()
                yield settings == ("on", "on")
            finally:
                server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def settle(self) -> None:
        """Autovacuum comes once a minute; without its statistics the plans are far worse ones."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ANALYZE")


def begin(peer: Peer, record: Record, worker: int) -> None:
    peer.run(peer.work(record, worker))


@contextmanager
def workers(peer: Peer, record: Record, count: int) -> Iterator[Callable[[], None]]:
    """Worker processes, and what raises when one of them has ended."""
    children = [PROCESSES.Process(target=begin, args=(peer, record, number), daemon=True) for number in range(count)]

    def check() -> None:
        if any(child.exitcode is not None for child in children):
            raise RuntimeError("A worker ended early")

    for child in children:
        child.start()
    try:
        yield check
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join(10)
            if child.exitcode is None:
                child.kill()
                child.join()


async def until_none(left: Callable[[], Coroutine[Any, Any, int]], check: Callable[[], None], pause: float) -> None:
    """Returns when nothing is left, and raises when nothing has moved for a minute."""
    before, since = None, time.monotonic()
    while count := await left():
        check()
        if count != before:
            before, since = count, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise TimeoutError(f"{count} jobs are left")
        await asyncio.sleep(pause)


async def measure_throughput(peer: Peer) -> tuple[dict[str, Any], list[str]]:
    options = peer.options
    record = Record(options.processes, options.jobs)

    async def unhandled() -> int:
        return max(0, options.jobs - sum(record.handled))

    async with peer.connect() as queue:
        start = time.monotonic_ns()
        await peer.enqueue(queue, range(options.jobs))
        enqueued = (time.monotonic_ns() - start) / 1e9
        peer.settle()
        with workers(peer, record, options.processes) as check:
            await until_none(unhandled, check, 0.005)
            # Asked only from here on: it would cost the workers something before.
            await until_none(lambda: peer.unfinished(queue), check, 0.002)
            seconds = (time.monotonic_ns() - record.start()) / 1e9
        faults = await peer.faults(queue)
    return {"jobs": options.jobs, "enqueue_per_second": round(options.jobs / enqueued),
            "jobs_per_second": round(options.jobs / seconds), "batch": options.batch, "concurrency": options.concurrency,
            "processes": options.processes}, faults + record.not_once()


async def measure_latency(peer: Peer) -> tuple[dict[str, Any], list[str]]:
    """From just before a job is enqueued until its handler starts, in another process that has been idle for a moment."""
    options = peer.options
    record = Record(1, options.latency + WARM_UP)
    async with peer.connect() as queue:
        with workers(peer, record, 1) as check:
            for number in range(record.jobs):
                async def unhandled() -> int:
                    return not record.latencies[number]

                await asyncio.sleep(PAUSE)
                await peer.send(queue, number)
                await until_none(unhandled, check, 0.002)
            await until_none(lambda: peer.unfinished(queue), check, 0.01)
    times = sorted(nanoseconds / 1e6 for nanoseconds in record.latencies[WARM_UP:])
    return {"latencies": len(times), "p50_ms": round(times[len(times) // 2], 2),
            "p95_ms": round(times[int(len(times) * 0.95)], 2), "concurrency": options.concurrency,
            "processes": 1}, record.not_once()


def arguments(peer: type[Peer], description: str) -> argparse.ArgumentParser:
    """The options that all peers have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="", help="a PostgreSQL server on which a database is made and dropped")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=peer.batch)
    parser.add_argument("--concurrency", type=int, help=f"{peer.concurrency}, and 1 for --latency, unless given")
    parser.add_argument("--processes", type=int, help=f"{peer.processes} unless given")
    parser.add_argument("--latency", type=int, metavar="K", help="measure the start of K jobs, one at a time")
    return parser


def main(peer: Peer) -> None:
    # So that a run that is told to stop leaves no database and no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measure = measure_latency if peer.options.latency else measure_throughput
    with peer.database() as durable:
        result, faults = peer.run(measure(peer))
    if faults:
        sys.exit(f"{peer.package}: {'; '.join(faults)}")
    about = {"peer": peer.package, "version": version(peer.package)}
    print(json.dumps({**about, **result, "durable": durable, "notes": peer.notes}))
