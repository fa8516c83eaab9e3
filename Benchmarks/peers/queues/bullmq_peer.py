"""BullMQ for Python, a peer of the job queue: `bullmq_peer.py`, with `redis-server` on the path.

--batch is what one call enqueues. Workers claim jobs one by one; --concurrency is how many workers run in a process,
each with connections of its own, for a worker that runs many jobs at once still asks for them on one connection.
--durable syncs what Redis writes before it answers. --postgres takes the library's PostgreSQL backend, at --url.
It needs requirements-bullmq.txt: its croniter is older than the one that pgqueuer asks for.
"""

import argparse
import asyncio
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from bullmq import Job, Queue, Worker

from common import PostgresPeer, Record, arguments, main

NOTES = {
    "memory": "nothing is persisted: Redis keeps jobs in memory only (appendonly no, no snapshots), and loses them with itself",
    "durable": "Redis appends and syncs before it answers (appendonly yes, appendfsync always); no snapshots",
    "postgres": "the library's PostgreSQL backend; one commit to claim a job and one to finish it; ANALYZE before the start",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def redis(durable: bool) -> Iterator[int]:
    """The port of a Redis with a folder of its own."""
    port = free_port()
    appending = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
    with tempfile.TemporaryDirectory(prefix="queues-redis-") as folder:
        server = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "",
                                   "--maxmemory-policy", "noeviction", *appending], stdout=subprocess.DEVNULL)
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            yield port
        finally:
            server.terminate()
            server.wait()


class Bullmq(PostgresPeer):
    package = "bullmq"
    batch, concurrency, processes = 1000, 16, 3

    def __init__(self, options: argparse.Namespace):
        if options.postgres:
            self.concurrency, self.processes = 4, 2
        super().__init__(options)
        kind = "postgres" if options.postgres else "durable" if options.durable else "memory"
        self.notes = f"{NOTES[kind]}; completed jobs kept; asyncio's own loop, for uvloop is not documented"

    @contextmanager
    def database(self) -> Iterator[bool]:
        if self.options.postgres:
            with super().database() as durable:
                self.settings = {"backend": "postgres", "connection": self.url}
                yield durable
        else:
            with redis(self.options.durable) as port:
                self.settings = {"connection": {"host": "127.0.0.1", "port": port}}
                yield self.options.durable

    def settle(self) -> None:
        if self.options.postgres:
            super().settle()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Queue]:
        queue = Queue("jobs", self.settings)
        try:
            yield queue
        finally:
            await queue.close()

    async def enqueue(self, queue: Queue, numbers: range) -> None:
        for start in range(0, len(numbers), self.options.batch):
            some = numbers[start:start + self.options.batch]
            await queue.addBulk([{"name": "job", "data": {"number": number}} for number in some])

    async def send(self, queue: Queue, number: int) -> None:
        await queue.add("job", {"number": number, "sent": time.monotonic_ns()})

    async def unfinished(self, queue: Queue) -> int:
        return sum((await queue.getJobCounts("waiting", "active", "delayed", "prioritized")).values())

    async def faults(self, queue: Queue) -> list[str]:
        counts = await queue.getJobCounts("completed", "failed")
        return [] if counts == {"completed": self.options.jobs, "failed": 0} else [f"the database holds {counts}"]

    async def work(self, record: Record, worker: int) -> None:
        async def job(job: Job, token: str) -> None:
            record.mark(worker, job.data["number"], job.data.get("sent", 0))

        record.ready()
        running = [Worker("jobs", job, self.settings) for _ in range(self.options.concurrency)]
        # Closing one may hang; by the time the process is terminated it has nothing left to do.
        await asyncio.Event().wait()
        del running


if __name__ == "__main__":
    parser = arguments(Bullmq, __doc__)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--postgres", action="store_true")
    main(Bullmq(parser.parse_args()))
