"""procrastinate, a peer of the job queue: `procrastinate_peer.py --url postgresql://…`.

--batch is what one call enqueues. A worker claims jobs one by one, and finishes each with a statement of its own;
--concurrency is how many one worker runs at once, and there is one worker in each process.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from procrastinate import App, PsycopgConnector

from common import PostgresPeer, Record, arguments, main

# It would warn of an app in a main module.
logging.getLogger("procrastinate").setLevel(logging.ERROR)


async def without_transactions(connection: psycopg.AsyncConnection) -> None:
    """Every call is one statement, so BEGIN and COMMIT are only round trips."""
    await connection.set_autocommit(True)


class Procrastinate(PostgresPeer):
    package = "procrastinate"
    batch, concurrency, processes = 1000, 1, 4
    notes = ("one commit to claim a job and one to finish it; pool in autocommit by its `configure`; jobs and events kept; "
             "asyncio's own loop, for uvloop is not documented and made no difference; ANALYZE before the start")

    def app(self, record: Record | None = None, worker: int = 0) -> App:
        size = self.options.concurrency + 1
        app = App(connector=PsycopgConnector(conninfo=self.url, min_size=size, max_size=size, configure=without_transactions))

        @app.task(name="job")
        async def job(number: int, sent: int = 0) -> None:
            record.mark(worker, number, sent)

        return app

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[App]:
        async with self.app().open_async() as app:
            await app.schema_manager.apply_schema_async()
            yield app

    async def enqueue(self, app: App, numbers: range) -> None:
        for start in range(0, len(numbers), self.options.batch):
            some = numbers[start:start + self.options.batch]
            await app.tasks["job"].batch_defer_async(*({"number": number} for number in some))

    async def send(self, app: App, number: int) -> None:
        await app.tasks["job"].defer_async(number=number, sent=time.monotonic_ns())

    async def unfinished(self, app: App) -> int:
        row = await app.connector.execute_query_one_async(
            "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")
        return row["jobs"]

    async def faults(self, app: App) -> list[str]:
        row = await app.connector.execute_query_one_async("""
            SELECT (SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND attempts = 1) AS jobs,
                (SELECT count(DISTINCT job_id) FROM procrastinate_events WHERE type = 'succeeded') AS succeeded,
                (SELECT count(*) FROM procrastinate_events WHERE type IN ('started', 'succeeded')) AS events""")
        jobs = self.options.jobs
        return [] if row == {"jobs": jobs, "succeeded": jobs, "events": 2 * jobs} else [f"the database holds {row}"]

    async def work(self, record: Record, worker: int) -> None:
        async with self.app(record, worker).open_async() as app:
            record.ready()
            await app.run_worker_async(concurrency=self.options.concurrency)


if __name__ == "__main__":
    main(Procrastinate(arguments(Procrastinate, __doc__).parse_args()))
