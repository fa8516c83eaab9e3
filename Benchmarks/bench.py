"""Measures `sba` against its limits and against named peers, interleaved, and prints Markdown tables.

Run by Benchmarks/run.sh, which brings the peers. Every server listens on loopback and is stopped by its own pid.
`--rounds N` and `--seconds N` shorten a trial; the figures in docs/benchmarks.md come from the defaults.
"""

import argparse
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).resolve().parent.parent
SBA = ROOT / ".build/release/sba"
EMAIL, PASSWORD = "bench@example.com", "correct-horse-battery"
RUN_BODY = {"prompt": "hello", "options": {"tools": []}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, timeout: float = 60) -> float:
    """Seconds until `url` answers 200."""
    start = time.perf_counter()
    while time.perf_counter() - start < timeout:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return time.perf_counter() - start
        except OSError:
            time.sleep(0.001)
    raise TimeoutError(url)


@contextmanager
def process(arguments: list[str], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen]:
    with (folder / "server.log").open("ab") as log:
        child = subprocess.Popen(arguments, env={"PATH": os.environ["PATH"], **environment}, cwd=folder,
                                 stdout=log, stderr=log, start_new_session=True)
        try:
            yield child
        finally:
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


@contextmanager
def sba(folder: Path, port: int, more: dict[str, str] | None = None) -> Iterator[tuple[subprocess.Popen, float]]:
    """A running server, and the seconds from its start to its readiness."""
    environment = {"SBA_ADMIN_EMAIL": EMAIL, "SBA_ADMIN_PASSWORD": PASSWORD, "SBA_LOG_LEVEL": "warning", **(more or {})}
    start = time.perf_counter()
    with process([str(SBA), "serve", "--port", str(port), "--data-dir", str(folder / "data")], environment, folder) as child:
        wait_for(f"http://127.0.0.1:{port}/api/health/ready")
        yield child, time.perf_counter() - start


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def post(port: int, path: str, body: dict, token: str = "", accept: str = "application/json") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", "Accept": accept}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def sign_in(port: int) -> str:
    return json.loads(post(port, "/api/auth/login", {"email": EMAIL, "password": PASSWORD}))["accessToken"]


class Load:
    """One round of wrk: requests a second, and the share of a core that wrk itself used."""

    def __init__(self, url: str, connections: int, seconds: int, script: Path | None = None, headers: dict | None = None):
        arguments = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
        if script:
            arguments += ["-s", str(script)]
        for name, value in (headers or {}).items():
            arguments += ["-H", f"{name}: {value}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        output = subprocess.run([*arguments, url], capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.core = spent / (time.perf_counter() - start)
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
        bad = re.search(r"non-2xx (\d+), 2xx without the message (\d+)", output) or re.search(r"(Non-2xx)[^\d]*(\d+)", output)
        self.bad = 0 if bad is None else sum(int(group) for group in bad.groups() if group.isdigit())


def spread(values: list[float], digits: int = 0) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def compare(name: str, rounds: int, ours: Callable[[], Load], peer: Callable[[], Load], peer_name: str) -> None:
    """Interleaved rounds of both; the ratio is that of the medians."""
    results: dict[str, list[Load]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        results["ours"].append(ours())
        results["peer"].append(peer())
    rates = {who: [load.rate for load in loads] for who, loads in results.items()}
    bad = sum(load.bad for loads in results.values() for load in loads)
    generator = max(load.core for loads in results.values() for load in loads)
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["peer"])
    print(f"| {name} | {spread(rates['ours'])} | {spread(rates['peer'])} ({peer_name}) | {ratio:.1f}x "
          f"| wrong answers {bad}; wrk at most {100 * generator:.0f} % of a core |", flush=True)


# --- Alone ------------------------------------------------------------------------------------------------------------

def measure_start(folder: Path, rounds: int) -> None:
    port = free_port()
    with sba(folder, port):
        pass
    starts, resident = [], []
    for _ in range(rounds):
        with sba(folder, port) as (child, seconds):
            starts.append(1000 * seconds)
            time.sleep(2)
            resident.append(resident_megabytes(child.pid))
    print(f"| start on an existing database until `/api/health/ready` is 200, ms | {spread(starts)} |")
    print(f"| resident memory 2 s after the start, MB | {spread(resident, 1)} |", flush=True)


def measure_run(folder: Path, count: int, more: dict[str, str] | None = None) -> None:
    port = free_port()
    with sba(folder, port, more):
        token = sign_in(port)
        times = []
        for number in range(count + 50):
            start = time.perf_counter()
            answer = post(port, "/api/agent/runs", RUN_BODY, token, "text/event-stream")
            if number >= 50:
                times.append(1000 * (time.perf_counter() - start))
            assert b"RUN_FINISHED" in answer
        times.sort()
        print(f"| trivial run, from the request to the end of its stream, ms | "
              f"p50 {times[len(times) // 2]:.1f}, p95 {times[int(len(times) * 0.95)]:.1f} of {count} |", flush=True)


def measure_commits(folder: Path) -> None:
    port = free_port()
    with sba(folder, port):
        token = sign_in(port)

        def commits() -> int:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/metrics/prometheus") as answer:
                return int(re.search(rb"^sba_storage_commits_total (\d+)", answer.read(), re.M)[1])

        post(port, "/api/agent/runs", RUN_BODY, token, "text/event-stream")
        before = commits()
        for _ in range(20):
            post(port, "/api/agent/runs", RUN_BODY, token, "text/event-stream")
        print(f"| commits a trivial run makes | {(commits() - before) / 20:.1f} |", flush=True)


def measure_durability(folder: Path) -> None:
    """Whether the database's log is synced between the request's arrival and its 202."""
    port, trace = free_port(), folder / "trace"
    with sba(folder, port) as (child, _):
        token = sign_in(port)
        tracer = subprocess.Popen(["strace", "-f", "-tt", "-y", "-e", "trace=fdatasync,fsync,read,recvfrom,write,writev,sendto",
                                   "-s", "64", "-o", str(trace), "-p", str(child.pid)], stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        post(port, "/api/agent/runs", RUN_BODY, token)
        time.sleep(0.5)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    lines = trace.read_text(errors="replace").splitlines()
    arrived = next(index for index, line in enumerate(lines) if "POST /api/agent/runs" in line)
    answered = next(index for index, line in enumerate(lines) if "202 Accepted" in line)
    syncs = [line for line in lines[arrived:answered] if "sync" in line and "wal" in line]
    print(f"| `fdatasync` of the write-ahead log between the request and its 202 (strace) | {len(syncs)} |")
    for line in (lines[arrived], *syncs, lines[answered]):
        print("    " + line[:150], flush=True)


# --- Against peers ----------------------------------------------------------------------------------------------------

def compare_runs(folder: Path, rounds: int, seconds: int) -> None:
    ours, theirs = free_port(), free_port()
    scratch = folder / "langgraph"
    scratch.mkdir()
    for name in ("graph.py", "langgraph.json"):
        shutil.copy(ROOT / "Benchmarks/peers/langgraph" / name, scratch)
    # Three jobs were its best setting at eight connections; from five on its queue falls asleep between runs.
    command = [str(ROOT / ".tools/peer-langgraph/bin/langgraph"), "dev", "--host", "127.0.0.1", "--port", str(theirs),
               "--no-browser", "--no-reload", "--n-jobs-per-worker", "3", "--allow-blocking"]
    quiet = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LOG_LEVEL": "WARNING", "LOG_COLOR": "false", "HOME": str(scratch),
             "PYTHONDONTWRITEBYTECODE": "1"}
    with sba(folder, ours), process(command, quiet, scratch):
        wait_for(f"http://127.0.0.1:{theirs}/ok")
        token = sign_in(ours)
        script = folder / "run.lua"
        script.write_text('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
                          'wrk.headers["Prefer"] = "wait=10"\n'
                          f'wrk.headers["Authorization"] = "Bearer {token}"\nwrk.body = {json.dumps(json.dumps(RUN_BODY))}\n'
                          'answers, non2xx, wrong = 0, 0, 0\nlocal threads = {}\n'
                          'function setup(thread) table.insert(threads, thread) end\n'
                          'function init() non2xx, wrong = 0, 0 end\n'
                          'function response(status, headers, body)\n'
                          '  if status ~= 200 then non2xx = non2xx + 1\n'
                          '  elseif not body:find("\\"status\\":\\"succeeded\\"", 1, true) then wrong = wrong + 1 end\nend\n'
                          'function done()\n  local a, b = 0, 0\n  for _, thread in ipairs(threads) do\n'
                          '    a, b = a + thread:get("non2xx"), b + thread:get("wrong") end\n'
                          '  print(("non-2xx %d, 2xx without the message %d"):format(a, b))\nend\n')
        peer_script = ROOT / "Benchmarks/peers/langgraph/wait.lua"
        compare("trivial runs a second, 8 connections", rounds,
                lambda: Load(f"http://127.0.0.1:{ours}/api/agent/runs", 8, seconds, script),
                lambda: Load(f"http://127.0.0.1:{theirs}", 8, seconds, peer_script), "langgraph dev, in memory")


def compare_reads(folder: Path, rounds: int, seconds: int) -> None:
    ours, theirs = free_port(), free_port()
    with sba(folder, ours):
        token = sign_in(ours)
        run = json.loads(post(ours, "/api/agent/runs", RUN_BODY, token))
        key = ec.generate_private_key(ec.SECP256R1())
        tenant = uuid.UUID(jwt.decode(token, options={"verify_signature": False})["tid"])
        claims = {"iss": "sba", "aud": "sba-api", "sub": run["userId"], "tid": str(tenant), "mv": 1,
                  "iat": int(time.time()), "exp": int(time.time()) + 3600}
        (folder / "key.pem").write_bytes(key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        database = sqlite3.connect(folder / "peer.sqlite")
        database.executescript("PRAGMA journal_mode = WAL; CREATE TABLE agent_runs (tenant_id BLOB, id BLOB, status TEXT, "
                               "prompt TEXT, created_at INTEGER, updated_at INTEGER, PRIMARY KEY (tenant_id, id)) WITHOUT ROWID;")
        database.execute("INSERT INTO agent_runs VALUES (?, ?, 'succeeded', 'hello', 1, 1)",
                         (tenant.bytes, uuid.UUID(run["id"]).bytes))
        database.commit()
        command = [str(ROOT / ".tools/peer-fastapi/bin/uvicorn"), "--app-dir", str(ROOT / "Benchmarks/peers/fastapi"), "app:app",
                   "--host", "127.0.0.1", "--port", str(theirs), "--workers", str(os.cpu_count()), "--loop", "uvloop",
                   "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        environment = {"PEER_PUBLIC_KEY": str(folder / "key.pem"), "PEER_DATABASE": str(folder / "peer.sqlite"),
                       "PEER_ISSUER": "sba", "PEER_AUDIENCE": "sba-api", "PYTHONDONTWRITEBYTECODE": "1"}
        theirs_token = jwt.encode(claims, key, "ES256")

        def peer() -> Load:
            # Connections spread unevenly over its workers: a new start each round, so that no one spread decides.
            with process(command, environment, folder):
                wait_for_peer(theirs, run["id"], theirs_token)
                return Load(f"http://127.0.0.1:{theirs}/api/agent/runs/{run['id']}", 64, seconds,
                            headers={"Authorization": f"Bearer {theirs_token}"})

        compare("authenticated reads of a run a second, 64 connections", rounds,
                lambda: Load(f"http://127.0.0.1:{ours}/api/agent/runs/{run['id']}", 64, seconds,
                             headers={"Authorization": f"Bearer {token}"}),
                peer, f"FastAPI, uvicorn, {os.cpu_count()} workers")


def wait_for_peer(port: int, run: str, token: str) -> None:
    for _ in range(2000):
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/api/agent/runs/{run}",
                                             headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=1):
                return
        except OSError:
            time.sleep(0.01)
    raise TimeoutError("FastAPI did not start")


# --- Signing in ------------------------------------------------------------------------------------------------------

SIGN_INS_A_SECOND, SIGN_IN_SECONDS = 10, 60


def keep_signing_in(port: int, seconds: int, outcomes: list[tuple[int, bool]]) -> None:
    """Ten sign-ins a second, whether the ones before were answered or not: what was answered, and whether it named a time."""
    def one() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/api/auth/login", json.dumps({"email": EMAIL, "password": PASSWORD}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        outcomes.append((answer.status, answer.getheader("Retry-After") is not None))
        connection.close()

    start, threads = time.perf_counter(), []
    for number in range(seconds * SIGN_INS_A_SECOND):
        time.sleep(max(0, start + number / SIGN_INS_A_SECOND - time.perf_counter()))
        threads.append(threading.Thread(target=one))
        threads[-1].start()
    for thread in threads:
        thread.join()


def measure_sign_ins(folder: Path, rounds: int) -> None:
    """What reads keep of their rate while somebody signs in all the time, and what memory that takes."""
    port = free_port()
    limits = {"SBA_SIGNIN_ADDRESS_LIMIT": "100000", "SBA_SIGNIN_ACCOUNT_LIMIT": "100000"}
    with sba(folder, port, limits) as (child, _):
        token = sign_in(port)
        run = json.loads(post(port, "/api/agent/runs", RUN_BODY, token))

        def reads(seconds: int) -> Load:
            return Load(f"http://127.0.0.1:{port}/api/agent/runs/{run['id']}", 64, seconds,
                        headers={"Authorization": f"Bearer {token}"})

        alone, beside, peak, bad, outcomes = [], [], 0.0, 0, []
        for _ in range(rounds):
            load = reads(SIGN_IN_SECONDS // 3)
            alone.append(load.rate)
            bad += load.bad
            signer = threading.Thread(target=keep_signing_in, args=(port, SIGN_IN_SECONDS, outcomes))
            signer.start()
            load = reads(SIGN_IN_SECONDS)
            beside.append(load.rate)
            bad += load.bad
            peak = max(peak, resident_megabytes(child.pid))
            signer.join()
        good = sum(status == 200 for status, _ in outcomes)
        refused = sum(status == 503 and named for status, named in outcomes)
        share = statistics.median(beside) / statistics.median(alone)
        print(f"| reads of a run a second, 64 connections, alone | {spread(alone)} |")
        print(f"| the same beside {SIGN_INS_A_SECOND} sign-ins a second | {spread(beside)}, {100 * share:.0f} % |")
        print(f"| wrong answers to reads | {bad} |")
        print(f"| resident memory at the end of a minute, MB | {peak:.0f} |")
        print(f"| sign-ins: signed in, 503 with Retry-After, anything else "
              f"| {good}, {refused}, {len(outcomes) - good - refused} |", flush=True)


AUTHENTICATION = ("authenticate", "VerifiedTokens", "TokenService", "StandingCache", "Principal", "standing(")


def profile_reads(folder: Path, seconds: int) -> None:
    """Which share of the samples of a server that only answers reads has authentication or permission on its stack."""
    port = free_port()
    with sba(folder, port) as (child, _):
        token = sign_in(port)
        run = json.loads(post(port, "/api/agent/runs", RUN_BODY, token))
        record = subprocess.Popen(["perf", "record", "-q", "-F", "997", "-g", "-o", str(folder / "perf.data"), "-p", str(child.pid),
                                   "--", "sleep", str(seconds)], stderr=subprocess.DEVNULL)
        Load(f"http://127.0.0.1:{port}/api/agent/runs/{run['id']}", 64, seconds + 1, headers={"Authorization": f"Bearer {token}"})
        record.wait()
    script = subprocess.run(["perf", "script", "-i", str(folder / "perf.data"), "-F", "comm,ip,sym"], capture_output=True,
                            text=True, check=True).stdout
    names = subprocess.run(["swift", "demangle", "--compact"], input=script, capture_output=True, text=True, check=True).stdout
    stacks = [stack for stack in names.split("\n\n") if stack.strip()]
    ours = [stack for stack in stacks if any(name in stack for name in AUTHENTICATION)]
    print(f"| samples with authentication or permission on their stack | {len(ours):,} of {len(stacks):,}, "
          f"{100 * len(ours) / max(1, len(stacks)):.1f} % |", flush=True)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------

STORAGE_BENCH = ROOT / ".build/release/StorageBench"
TENANT = "00000000-0000-7000-8000-0000000000aa"
# Ten runs and more were made by StorageBench, each known by its number.
RUN = "('00000000-0000-7000-8000-0000000000' || (10 + :client_id))::uuid"
CONTEXT = f"SELECT set_config('app.tenant_id', '{TENANT}', true);"
READ = f"""
\\startpipeline
{CONTEXT}
SELECT id, session_id, tenant_id, user_id, scopes, request_id, traceparent, prompt, options, status, output, error_code,
    error_message, input_tokens, output_tokens, created_at, started_at, finished_at, deadline_at
FROM agent_runs WHERE tenant_id = '{TENANT}' AND id = {RUN};
\\endpipeline
"""
DELTA = '{"delta":"It lasts twelve weeks.","messageId":"01a1fa29-9c25-7fb6-a48c-c7dd168ef20a"}'
EVENTS = ", ".join(f"({offset}, '{kind}', '{fields}'::json)" for offset, kind, fields in (
    (2, "TEXT_MESSAGE_CONTENT", DELTA), (1, "TEXT_MESSAGE_END", '{"messageId":"01a1fa29-9c25-7fb6-a48c-c7dd168ef20a"}'),
    (0, "STEP_FINISHED", '{"stepName":"model-1"}')))
# `+ 0` keeps pgbench from having to know where the log stands; the comparison is made all the same.
APPEND = f"""
\\startpipeline
{CONTEXT}
WITH met AS (
    UPDATE run_heads SET last_seq = last_seq + 3
    WHERE tenant_id = '{TENANT}' AND run_id = {RUN} AND token = 0 AND last_seq = last_seq + 0
    RETURNING last_seq, cancel_requested
), checked AS (SELECT expect_rows(count(*), 1) AS is_met FROM met)
SELECT met.* FROM checked LEFT JOIN met ON checked.is_met;
WITH met AS (
    INSERT INTO run_events (tenant_id, run_id, seq, type, fields, created_at)
    SELECT '{TENANT}', {RUN}, h.last_seq - e.column1, e.column2, e.column3, 1795198393382000
    FROM run_heads h, (VALUES {EVENTS}) e WHERE h.tenant_id = '{TENANT}' AND h.run_id = {RUN} AND h.token = 0
    RETURNING 1
) SELECT expect_rows(count(*), 3) FROM met;
\\endpipeline
"""


@contextmanager
def postgres() -> Iterator[tuple[str, dict[str, str]]]:
    """A migrated database on PostgreSQL 18 with full durability: its address, and what makes `sba` use it."""
    services = str(ROOT / "scripts/services.sh")
    subprocess.run([services, "stop"], check=True)
    subprocess.run([services, "start", "--durable"], check=True, stdout=subprocess.DEVNULL)
    try:
        listing = subprocess.run([services, "env"], check=True, capture_output=True, text=True).stdout
        server = re.search(r"SBA_TEST_POSTGRES_18='?postgresql://postgres:postgres@([\d.:]+)/", listing)[1]
        psql = ["psql", "-qX", f"postgresql://sba_owner:owner@{server}/postgres", "-c", "CREATE DATABASE bench"]
        subprocess.run(psql, check=True)
        urls = {"DATABASE_URL": f"postgresql://sba_app:app@{server}/bench",
                "DATABASE_SYSTEM_URL": f"postgresql://sba_system:system@{server}/bench"}
        owner = {"DATABASE_OWNER_URL": f"postgresql://sba_owner:owner@{server}/bench", "PATH": os.environ["PATH"]}
        subprocess.run([str(SBA), "migrate"], env=urls | owner, check=True, stdout=subprocess.DEVNULL)
        yield server, urls | {"SBA_SECRET_KEY": "a secret that is long enough for a benchmark"}
    finally:
        subprocess.run([services, "stop"], check=True)


def compare_storage(folder: Path, rounds: int, seconds: int, urls: dict[str, str]) -> None:
    """The repository against pgbench, which sends the same statements in pipelines of its own."""
    ours = [str(STORAGE_BENCH), "--application", urls["DATABASE_URL"], "--system", urls["DATABASE_SYSTEM_URL"],
            "--seconds", str(seconds)]
    subprocess.run([*ours, "--work", "read", "--prepare"], check=True)
    # More callers than connections, as in a server; those who wait share round trips.
    for work, script, callers, name in (
            ("read", READ, 16, "reads of a run a second through the repository, 16 callers"),
            ("read", READ, 32, "the same, 32 callers"),
            ("read", READ, 256, "the same, 256 callers"),
            ("append", APPEND, 16, "fenced appends of three events a second, 16 callers")):
        (folder / f"{work}.sql").write_text(script)
        pgbench = ["pgbench", "-n", "-M", "prepared", "-c8", "-j2", f"-T{seconds}", "-f", str(folder / f"{work}.sql"),
                   urls["DATABASE_URL"]]
        rates: dict[str, list[float]] = {"ours": [], "pgbench": []}
        for _ in range(rounds):
            output = subprocess.run([*ours, "--work", work, "--tasks", str(callers)], check=True, capture_output=True, text=True).stdout
            rates["ours"].append(float(output))
            output = subprocess.run(pgbench, check=True, capture_output=True, text=True).stdout
            assert "number of failed transactions: 0 " in output, output
            rates["pgbench"].append(float(re.search(r"^tps = ([\d.]+)", output, re.M)[1]))
        ratio = statistics.median(rates["ours"]) / statistics.median(rates["pgbench"])
        print(f"| {name}, 8 connections | {spread(rates['ours'])} | {spread(rates['pgbench'])} (pgbench) | {100 * ratio:.0f} % |",
              flush=True)


# --- Queues -----------------------------------------------------------------------------------------------------------

PEER_QUEUES = ROOT / "Benchmarks/peers/queues"


def peer_python(name: str) -> str:
    return str(ROOT / f".tools/peer-{name}/bin/python")


class Queue:
    """Our queue in a database of its own, driven by StorageBench."""

    def __init__(self, server: str, urls: dict[str, str]):
        self.base = [str(STORAGE_BENCH), "queue", "--application", urls["DATABASE_URL"], "--system", urls["DATABASE_SYSTEM_URL"]]
        self.superuser = f"postgresql://postgres:postgres@{server}/bench"
        self("--work", "prepare")

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen([*self.base, *arguments], stdout=subprocess.PIPE, text=True)

    def __call__(self, *arguments: str) -> dict:
        return json.loads(subprocess.run([*self.base, *arguments], check=True, capture_output=True, text=True).stdout)

    def sql(self, *statements: str) -> None:
        subprocess.run(["psql", "-qX", self.superuser, *(part for sql in statements for part in ("-c", sql))], check=True)

    def rate(self, jobs: int, batch: int, processes: int) -> float:
        """Jobs a second, from the first job's start to the last one's."""
        self.sql("TRUNCATE sba.jobs")
        self("--work", "enqueue", "--jobs", str(jobs))
        self.sql("VACUUM ANALYZE sba.jobs")
        children = [self.start("--work", "work", "--batch", str(batch)) for _ in range(processes)]
        answers = [json.loads(child.communicate()[0]) for child in children]
        assert sum(answer["done"] for answer in answers) == jobs, answers
        busy = [answer for answer in answers if answer["done"]]
        return jobs / (max(answer["lastAt"] for answer in busy) - min(answer["firstAt"] for answer in busy))


def peer_rate(name: str, python: str, *arguments: str) -> float:
    """What a peer's driver says, which fails when a job did not run exactly once."""
    command = [peer_python(python), f"{name}_peer.py", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PEER_QUEUES).stdout
    return json.loads(output)["jobs_per_second"]


def compare_queues(server: str, queue: Queue, rounds: int) -> None:
    url = f"postgresql://postgres:postgres@{server}/postgres"
    for title, jobs, batch, processes, peer in (
            ("batches of 10, 2 processes", 40_000, 10, 2, ("pgqueuer", "queues", "--jobs", "30000", "--batch", "10")),
            ("batches of 100, 2 processes", 100_000, 100, 2, ("pgqueuer", "queues", "--jobs", "100000", "--batch", "100")),
            ("batches of 500, 2 processes", 100_000, 500, 2, ("pgqueuer", "queues", "--jobs", "100000", "--batch", "500")),
            ("one at a time, 4 processes", 10_000, 1, 4, ("procrastinate", "queues", "--jobs", "5000")),
            ("batches of 100, 2 processes", 100_000, 100, 2, ("procrastinate", "queues", "--jobs", "5000")),
            ("batches of 100, 2 processes", 100_000, 100, 2, ("bullmq", "bullmq", "--jobs", "20000"))):
        name, python, *arguments = peer
        if name != "bullmq":
            arguments += ["--url", url]
        rates: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(rounds):
            rates["ours"].append(queue.rate(jobs, batch, processes))
            rates["peer"].append(peer_rate(name, python, *arguments))
        ratio = statistics.median(rates["ours"]) / statistics.median(rates["peer"])
        print(f"| no-op jobs a second, {title} | {spread(rates['ours'])} | {spread(rates['peer'])} ({name}) | {ratio:.2f} |", flush=True)


# What completes jobs: as one would write it, for pgbench has their ids and tokens as arrays.
COMPLETE = """
UPDATE jobs SET state = 'completed', finished_at = current_micros(), lease_until = NULL, worker = NULL
FROM unnest(:ids::uuid[], :tokens::bigint[]) AS held (column1, column2)
WHERE jobs.id = held.column1 AND jobs.token = held.column2 AND jobs.state = 'executing' RETURNING id, token;
"""


def compare_statements(folder: Path, server: str, queue: Queue, rounds: int) -> None:
    """The worker against pgbench, which sends the same claim, completes what it got, and does nothing with the answers."""
    claim = queue("--work", "statement")["claim"]
    for batch, jobs in ((10, 40_000), (100, 100_000)):
        values = {"?1": "'bench'", "?2": str(batch), "?3": "30000000", "?4": "'bench'", "?5": "0"}
        statement = re.sub(r"\?\d", lambda match: values[match[0]], claim)
        script = folder / f"own-{batch}.sql"
        script.write_text(f"WITH claimed AS ({statement}) SELECT coalesce(array_agg(id), '{{}}') AS ids, "
                          f"coalesce(array_agg(token), '{{}}') AS tokens FROM claimed\n\\gset\n{COMPLETE}")
        rates: dict[str, list[float]] = {"ours": [], "pgbench": []}
        for _ in range(rounds):
            rates["ours"].append(queue.rate(jobs, batch, 2))
            queue.sql("TRUNCATE sba.jobs")
            queue("--work", "enqueue", "--jobs", str(jobs))
            queue.sql("VACUUM ANALYZE sba.jobs")
            clients = 2
            output = subprocess.run(
                ["pgbench", "-n", "-M", "prepared", f"-c{clients}", "-j2", f"-t{jobs // batch // clients}", "-f", str(script),
                 f"postgresql://sba_system:system@{server}/bench"],
                env=os.environ | {"PGOPTIONS": "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off"},
                check=True, capture_output=True, text=True).stdout
            rates["pgbench"].append(batch * float(re.search(r"^tps = ([\d.]+)", output, re.M)[1]))
        ratio = statistics.median(rates["ours"]) / statistics.median(rates["pgbench"])
        print(f"| no-op jobs a second, batches of {batch}, 2 processes | {spread(rates['ours'])} "
              f"| {spread(rates['pgbench'])} (pgbench, the same claim) | {100 * ratio:.0f} % |", flush=True)


FINISHED = """
INSERT INTO sba.jobs (id, tenant_id, kind, subject, state, attempt, maximum_attempts, token, run_at, created_at, finished_at)
SELECT gen_random_uuid(), '00000000-0000-7000-8000-0000000000aa', 'bench', gen_random_uuid(), 'completed', 1, 3, 1, 1, 1, 1
FROM generate_series(1, 1000000)
"""


def measure_queue(queue: Queue) -> None:
    queue.sql("TRUNCATE sba.jobs")
    queue("--work", "enqueue", "--jobs", "20000")
    queue.sql("VACUUM ANALYZE sba.jobs")
    small = queue("--work", "claim", "--batch", "10", "--jobs", "1000")
    queue.sql(FINISHED)
    queue("--work", "enqueue", "--jobs", "100000")
    queue.sql("VACUUM ANALYZE sba.jobs")
    large = queue("--work", "claim", "--batch", "10", "--jobs", "1000")
    print(f"| claim of 10 jobs, few in the table: p50, p95 ms | {small['p50']:.2f}, {small['p95']:.2f} |")
    print(f"| the same, 1,000,000 finished and 100,000 waiting | {large['p50']:.2f}, {large['p95']:.2f}, "
          f"{large['p95'] / small['p95']:.2f} times |", flush=True)
    for processes in (1, 2, 4):
        print(f"| no-op jobs a second, batches of 100, {processes} processes | {queue.rate(100_000, 100, processes):,.0f} |", flush=True)


def measure_idle_transaction(queue: Queue, seconds: int) -> None:
    """A transaction that stays open keeps PostgreSQL from cleaning up."""
    for held in (False, True):
        queue.sql("TRUNCATE sba.jobs")
        idle = subprocess.Popen(["psql", "-qX", queue.superuser], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        if held:
            idle.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sba.jobs;\n")
            idle.stdin.flush()
        shown_seconds = seconds if held else seconds // 10
        parts = queue("--work", "flow", "--seconds", str(shown_seconds))["perSecond"]
        idle.stdin.close()
        idle.wait()
        shown = ", ".join(f"{part:,}" for part in parts[::max(1, len(parts) // 10)])
        print(f"| enqueued and done a second, {'an idle transaction open' if held else 'nothing in the way'}, over {shown_seconds} s "
              f"| {shown} |", flush=True)


def measure_queues(folder: Path, rounds: int, idle_seconds: int) -> None:
    with postgres() as (server, urls):
        queue = Queue(server, urls)
        print("\n| queue, PostgreSQL 18 | measured |\n| --- | --- |")
        measure_queue(queue)
        measure_idle_transaction(queue, idle_seconds)
        print("\n| queue against a peer | sba | peer | ratio |\n| --- | --- | --- | --- |")
        compare_statements(folder, server, queue, rounds)
        compare_queues(server, queue, rounds)


def measure_postgres(folder: Path, rounds: int, seconds: int) -> None:
    with postgres() as (_, urls):
        # First, for it makes the first account.
        print("\n| PostgreSQL 18, alone | measured |\n| --- | --- |")
        measure_run(folder, 1000, urls)
        print("\n| PostgreSQL 18 | sba | peer | share |\n| --- | --- | --- | --- |")
        compare_storage(folder, rounds, seconds, urls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--only", choices=["alone", "runs", "reads", "sign-ins", "profile", "postgres", "queues"])
    parser.add_argument("--idle-seconds", type=int, default=600, help="how long a transaction stays open beside the queue")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sba-bench-") as name:
        folder = Path(name)
        if options.only in (None, "alone"):
            print("| alone | measured |\n| --- | --- |")
            measure_start(folder, options.rounds)
            measure_run(folder, 1000)
            measure_commits(folder)
            measure_durability(folder)
        if options.only in (None, "sign-ins"):
            print("\n| signing in | measured |\n| --- | --- |")
            measure_sign_ins(folder, options.rounds)
        if options.only in (None, "profile"):
            print("\n| profile of reads | measured |\n| --- | --- |")
            profile_reads(folder, 2 * options.seconds)
        if options.only in (None, "runs", "reads"):
            print("\n| against a peer | sba | peer | ratio | checked |\n| --- | --- | --- | --- | --- |")
        if options.only in (None, "runs"):
            compare_runs(folder, options.rounds, options.seconds)
        if options.only in (None, "reads"):
            compare_reads(folder, options.rounds, options.seconds)
        if options.only in (None, "postgres"):
            measure_postgres(folder, options.rounds, options.seconds)
        if options.only in (None, "queues"):
            measure_queues(folder, options.rounds, options.idle_seconds)


if __name__ == "__main__":
    main()
