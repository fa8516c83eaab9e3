"""pgqueuer, a peer of the job queue: `pgqueuer_peer.py --url postgresql://…`.

--batch is how many jobs one statement claims, and about how many another one finishes; --concurrency is how many
managers run in a process, each with a connection of its own, as in the library's own benchmark.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvloop
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries

from common import PostgresPeer, Record, arguments, main

ENQUEUED_AT_ONCE = 1000


class Pgqueuer(PostgresPeer):
    package = "pgqueuer"
    batch, concurrency, processes = 500, 1, 2
    notes = ("one commit claims a batch and one finishes about a batch, after its handlers have run: a crash runs them again; "
             "durable tables (all logged); finished jobs move to its log; uvloop, as its command does; tables tuned as by "
             "`pgq autovac`; ANALYZE before the start")
    run = staticmethod(uvloop.run)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Queries]:
        connection = await asyncpg.connect(self.url)
        try:
            queries = Queries.from_asyncpg_connection(connection)
            await queries.install()
            await queries.optimize_autovacuum()
            yield queries
        finally:
            await connection.close()

    async def enqueue(self, queries: Queries, numbers: range) -> None:
        for start in range(0, len(numbers), ENQUEUED_AT_ONCE):
            some = numbers[start:start + ENQUEUED_AT_ONCE]
            await queries.enqueue(["job"] * len(some), [b"%d" % number for number in some], [0] * len(some))

    async def send(self, queries: Queries, number: int) -> None:
        await queries.enqueue("job", b"%d %d" % (number, time.monotonic_ns()))

    async def unfinished(self, queries: Queries) -> int:
        return sum(row.count for row in await queries.queue_size())

    async def faults(self, queries: Queries) -> list[str]:
        rows = await queries.driver.fetch(
            "SELECT status::text, count(*), count(DISTINCT job_id) AS jobs FROM pgqueuer_log GROUP BY 1")
        counts = {row["status"]: (row["count"], row["jobs"]) for row in rows}
        expected = dict.fromkeys(("queued", "picked", "successful"), (self.options.jobs, self.options.jobs))
        return [] if counts == expected else [f"its log holds {counts}"]

    async def work(self, record: Record, worker: int) -> None:
        async def job(job: Job) -> None:
            record.mark(worker, *map(int, job.payload.split()))

        managers = [PgQueuer(AsyncpgDriver(await asyncpg.connect(self.url))) for _ in range(self.options.concurrency)]
        for manager in managers:
            manager.entrypoint("job")(job)
        record.ready()
        await asyncio.gather(*(manager.run(batch_size=self.options.batch) for manager in managers))


if __name__ == "__main__":
    main(Pgqueuer(arguments(Pgqueuer, __doc__).parse_args()))
