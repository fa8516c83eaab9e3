#!/usr/bin/env python3
"""Hold a running server to its contract, openapi.yaml, with schemathesis.

Usage: ``.tools/schemathesis/bin/python scripts/schemathesis.py BINARY [ROLE ...]``

Makes a server with people and things once. For each role it then starts the server on a copy of that, and lets
schemathesis send requests made from openapi.yaml as somebody of that role: its examples, the edges of every schema,
random ones, and chains of them, right and wrong. Every answer is held to all checks of schemathesis.
scripts/schemathesis.toml has the settings, and scripts/schemathesis_hooks.py says which finding is none.

Prints the failures with the curl line of each, and one line a role. Exit status: 0 when nothing was found, 1 when
something was, 2 for wrong usage. Needs ``scripts/requirements/schemathesis.txt``.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

SCRIPTS = Path(__file__).resolve().parent
CONTRACT = SCRIPTS.parent / "openapi.yaml"

# Random requests for each operation of each role, besides the examples and the edges.
MAX_EXAMPLES = 6
# So many roles at once.
ROLES_AT_ONCE = 2
START_SECONDS = 60
REQUEST_SECONDS = 30

PASSWORD = "the password of everybody"
# Whom the examples of openapi.yaml sign in.
EXAMPLE_EMAIL = "ada@example.com"
EXAMPLE_PASSWORD = "correct horse battery"
KEY_SCOPES = ["runs:read", "runs:write", "knowledge:read", "knowledge:write", "schedules:read", "webhooks:read"]
KEY_SCOPES += ["events:read", "events:write", "usage:read", "audit:read", "members:read", "tenant:read"]

# The ids in the examples of openapi.yaml, which become those of things that there are.
EXAMPLE_IDS = {
    "tenant": "01a1fa28-ffd0-734b-ae85-12a46b69597b",
    "user": "01a1fa43-293e-7b0a-9d51-6c0e5f2b7a18",
    "invitation": "01a1fa41-fcdc-7a3e-8c05-2b9d7e4f6a10",
    "key": "01a1fa4b-7716-7d20-a4f1-93c5b80e6d27",
    "session": "01a1fa29-9c25-7fc6-8a3f-faf74e95e51b",
    "run": "01a1fa29-9c25-7fb6-a48c-c7dd168ef20a",
    "document": "01a1fa2a-6d6f-7039-998a-5e23f112120d",
    "schedule": "01a1fa5d-a8e0-7535-ad21-97bbc54fe69b",
    "webhook": "01a1fa67-6fb1-7e11-b6db-b8fd15baac86",
    "delivery": "01a1fa6a-921f-7768-9855-119ee494f7f1",
    "job": "01a1fa2a-5b93-7e04-a1c8-6f2d90b7e435",
}

INDEX_QUEUE = "/api/queues/index_document"
# No webhook is to reach anybody (RFC 2606).
NOBODY = "hooks.example.invalid"
# What the examples of events are held to.
PLAN = {
    "type": "object",
    "required": ["plan", "seats"],
    "additionalProperties": False,
    "properties": {"plan": {"enum": ["team", "company"]}, "seats": {"type": "integer", "minimum": 1}},
}

MEMBERS = ("viewer", "member", "admin", "owner")
ROLES = ("nobody", *MEMBERS, "operator", "key")
# What a password or a sign-in goes into is the same for every role.
OF_ONE_ROLE = {"logout": "logout", "logoutEverywhere": "logoutEverywhere", "changePassword": "member", "eraseMe": "member"}


class API:
    """The server's API, for one caller."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token

    def call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=REQUEST_SECONDS)
        if not answer.ok:
            raise RuntimeError(f"{method} {path} was answered with {answer.status_code}: {answer.text}")
        return answer.json()

    def join(self, email: str, role: str, password: str = PASSWORD) -> str:
        """Makes a member; answers their access token."""
        invitation = self.call("POST", "/api/invitations", {"email": email, "role": role})
        place = {"token": invitation["token"], "password": password}
        return API(self.url).call("POST", "/api/auth/invitations/accept", place)["accessToken"]


@dataclass
class Cast:
    """Whom the server knows, and what there is."""

    tokens: dict[str, str | None]
    users: dict[str, str]
    things: dict[str, str]


@dataclass
class Result:
    role: str
    found: bool
    output: str
    summary: str


@contextmanager
def serving(binary: Path, folder: Path) -> Iterator[API]:
    """Starts the server on a free port of this machine, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "SBA_HTTP_PORT": str(port),
        # Tokens name it as their issuer, and are to be good on every port.
        "SBA_PUBLIC_URL": "http://127.0.0.1",
        "SBA_DATA_DIR": str(folder / "data"),
        "SBA_METRICS_PORT": "0",
        "SBA_ADMIN_EMAIL": "operator@example.com",
        "SBA_ADMIN_PASSWORD": PASSWORD,
        "SBA_SIGNIN_ADDRESS_LIMIT": "100000",
        "SBA_SIGNIN_ACCOUNT_LIMIT": "100000",
        # Without any, webhooks take https alone.
        "SBA_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "SBA_LOG_LEVEL": "warning",
    }
    log = folder / "server.log"
    with open(log, "wb") as output:
        server = subprocess.Popen([binary, "serve"], cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(server, url, log)
        yield API(url)
        if server.poll() is not None:
            raise RuntimeError(f"The server ended with {server.returncode}:\n{log.read_text()}")
    finally:
        server.terminate()
        try:
            server.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/api/health/ready", timeout=REQUEST_SECONDS).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"The server did not start:\n{log.read_text()}")


def fill(server: API) -> Cast:
    """Makes people and things, once for all roles, since every password takes long."""
    sign_in = {"email": "operator@example.com", "password": PASSWORD}
    operator = API(server.url, server.call("POST", "/api/auth/login", sign_in)["accessToken"])
    operator.call("POST", "/api/tenants", {"name": "Second"})
    example_token = operator.join(EXAMPLE_EMAIL, "member", EXAMPLE_PASSWORD)
    tokens = {role: operator.join(f"{role}@example.com", role) for role in MEMBERS}
    users = {member["email"]: member["id"] for member in operator.call("GET", "/api/users")["items"]}

    example_key = operator.call("POST", "/api/api-keys", {"name": "Example", "scopes": KEY_SCOPES})
    key = operator.call("POST", "/api/api-keys", {"name": "Contract", "scopes": KEY_SCOPES})
    invitation = operator.call("POST", "/api/invitations", {"email": "new@example.com", "role": "viewer"})
    document = operator.call("POST", "/api/knowledge/documents", {"title": "Leave", "text": "# Leave\n\nSixteen weeks."})
    run = operator.call("POST", "/api/agent/runs", {"prompt": "How long is parental leave?"})
    nightly = {"name": "News", "cron": "@daily", "run": {"prompt": "What is new?"}}
    schedule = operator.call("POST", "/api/schedules", nightly)
    webhook, delivery = failed_delivery(operator)
    operator.call("PUT", "/api/meta-events/schemas/plan.upgraded", {"schema": PLAN})
    # The type that schemathesis makes of its pattern, with data of any kind.
    operator.call("PUT", "/api/meta-events/schemas/a", {"schema": {}})
    job = dead_letter(operator)
    return Cast(
        tokens={
            "nobody": None,
            **tokens,
            "operator": operator.token,
            "key": key["key"],
            "logout": example_token,
            "logoutEverywhere": example_token,
        },
        users={role: users[f"{role}@example.com"] for role in (*MEMBERS, "operator")},
        things={
            "tenant": operator.call("GET", "/api/auth/me")["tenant"]["id"],
            "user": users[EXAMPLE_EMAIL],
            "invitation": invitation["id"],
            "key": example_key["id"],
            "session": run["sessionId"],
            "run": run["id"],
            "document": document["id"],
            "schedule": schedule["id"],
            "webhook": webhook,
            "delivery": delivery,
            "job": job,
        },
    )


def dead_letter(operator: API) -> str:
    """Makes a job that can be retried, and after that changed and given up; answers its id."""
    operator.call("PATCH", INDEX_QUEUE, {"paused": True})
    operator.call("POST", "/api/knowledge/documents", {"title": "Never", "text": "Nobody will find this."})
    job = operator.call("GET", f"{INDEX_QUEUE}/jobs?state=available")["items"][0]["id"]
    operator.call("POST", f"/api/jobs/{job}/discard")
    operator.call("PATCH", INDEX_QUEUE, {"paused": False})
    wait_for(operator, f"/api/jobs/{job}", "discarded")
    return job


def failed_delivery(operator: API) -> tuple[str, str]:
    """Makes a webhook, and a delivery of it that can be sent once more; answers their ids."""
    target = {"url": f"https://{NOBODY}/", "events": ["plan.*"]}
    webhook = operator.call("POST", "/api/webhooks", target)["id"]
    operator.call("PATCH", f"/api/webhooks/{webhook}", {"enabled": False})
    delivery = operator.call("POST", f"/api/webhooks/{webhook}/test")["id"]
    wait_for(operator, f"/api/webhooks/{webhook}/deliveries/{delivery}", "failed")
    operator.call("PATCH", f"/api/webhooks/{webhook}", {"enabled": True})
    return webhook, delivery


def wait_for(operator: API, path: str, state: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while operator.call("GET", path)["state"] != state:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not become {state}.")
        time.sleep(0.05)


def contract(role: str, things: dict[str, str]) -> dict[str, Any]:
    """openapi.yaml with examples about what there is, so that more than 404 is answered."""
    text = CONTRACT.read_text()
    for thing, example in EXAMPLE_IDS.items():
        if example not in text:
            raise RuntimeError(f"The examples of openapi.yaml do not name the {thing} {example} any more.")
        text = text.replace(example, things[thing])
    # The server of this test has no other model.
    text = text.replace("openai/gpt-4o-mini", "local/extractive")
    text = text.replace("hooks.example.com", NOBODY)
    # schemathesis 4.32 ends with an error of its own when a URL in an answer has a host that is no IPv6 address.
    text = text.replace(r"\[[0-9a-f:.]+\]|", "")
    document = yaml.load(text, yaml.CSafeLoader)
    # Every value of these two is taken, and a wrong tenant is answered alike to everybody: more would only multiply the
    # requests.
    left_out = {"RequestId", "Traceparent"} | (set() if role == "operator" else {"TenantId"})
    for path in document["paths"].values():
        for operation in path.values():
            operation["parameters"] = [
                parameter
                for parameter in operation.get("parameters", [])
                if parameter.get("$ref", "").rpartition("/")[2] not in left_out
            ]
    return document


def hold(role: str, cast: Cast, binary: Path, folder: Path) -> Result:
    """Runs schemathesis as one role."""
    began = time.monotonic()
    token = cast.tokens[role]
    with serving(binary, folder) as server:
        if role == "operator":
            # Else what is retried would be done before it can be changed or given up.
            API(server.url, token).call("PATCH", INDEX_QUEUE, {"paused": True})
        command = [str(Path(sys.executable).with_name("schemathesis"))]
        command += ["--config-file", str(SCRIPTS / "schemathesis.toml"), "run", "openapi.json", "--url", server.url]
        command += ["--checks", "all", "--max-examples", str(MAX_EXAMPLES), "--request-timeout", str(REQUEST_SECONDS)]
        command += ["--report", "ndjson", "--report-ndjson-path", "events.ndjson"]
        if token is not None:
            # What is open does not look at the token.
            command += ["--header", f"Authorization: Bearer {token}", "--exclude-by", "/x-permission == open"]
        if role not in ROLES:
            command += ["--include-operation-id", role]
        elif role != "nobody":
            others = [operation for operation, tested in OF_ONE_ROLE.items() if tested != role]
            command += [word for operation in others for word in ("--exclude-operation-id", operation)]
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": str(SCRIPTS / "schemathesis_hooks.py"),
            "CALLER_ID": cast.users.get(role, ""),
        }
        run = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if role in ROLES and token is not None:
            # Whoever was signed out on the way has tested nothing since.
            API(server.url, token).call("GET", "/api/tenants")
    seconds = time.monotonic() - began
    return Result(role, run.returncode != 0, run.stdout, f"{count(folder / 'events.ndjson')} in {seconds:.0f} s")


def count(report: Path) -> str:
    """How much was sent, and how many operations did what they are for at least once."""
    sent, done = 0, set()
    for line in report.read_text().splitlines() if report.exists() else []:
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for case, interaction in recorder.get("interactions", {}).items():
            sent += 1
            request = recorder["cases"][case]["value"]
            if 200 <= (interaction["response"] or {}).get("status_code", 0) < 300:
                done.add((request["method"], request["path"]))
    return f"{sent} requests, {len(done)} operations succeeded"


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold a running server to openapi.yaml.")
    parser.add_argument("binary", type=Path, help="the sba binary")
    every = (*ROLES, "logout", "logoutEverywhere")
    parser.add_argument("roles", nargs="*", metavar="role", help=f"of {', '.join(every)}; all of them when absent")
    arguments = parser.parse_args()
    if unknown := set(arguments.roles) - set(every):
        parser.error(f"unknown role: {', '.join(sorted(unknown))}")
    binary = arguments.binary.resolve()

    with tempfile.TemporaryDirectory(prefix="sba-contract-") as name:
        folder = Path(name)
        with serving(binary, folder) as server:
            cast = fill(server)

        def hold_copy(role: str) -> Result:
            shutil.copytree(folder / "data", folder / role / "data")
            (folder / role / "openapi.json").write_text(json.dumps(contract(role, cast.things)))
            return hold(role, cast, binary, folder / role)

        with ThreadPoolExecutor(ROLES_AT_ONCE) as pool:
            results = list(pool.map(hold_copy, arguments.roles or every))
    for result in results:
        if result.found:
            print(f"As {result.role}:\n{result.output}")
    for result in results:
        print(f"{result.role}: {'FOUND SOMETHING' if result.found else 'good'}: {result.summary}")
    return 1 if any(result.found for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
