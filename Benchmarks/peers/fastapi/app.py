"""One authenticated read of a run, as a FastAPI service would do it.

`GET /api/agent/runs/{id}` verifies an ES256 bearer token (signature, `exp`,
`iss`, `aud`), takes the tenant from its `tid` claim, reads one row from SQLite
and answers JSON in camelCase: 401 without a good token, 404 without a row.
Every request verifies its token; nothing is cached.

Environment: PEER_PUBLIC_KEY (path of a PEM), PEER_DATABASE (path),
PEER_ISSUER, PEER_AUDIENCE. uvicorn imports this module once per worker, which
gives each worker its own key and its own read-only connection.
"""

import os
import sqlite3
from pathlib import Path
from typing import Annotated
from uuid import UUID

import jwt
import orjson
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import FastAPI, Header, HTTPException, Response

ISSUER = os.environ["PEER_ISSUER"]
AUDIENCE = os.environ["PEER_AUDIENCE"]
PUBLIC_KEY = load_pem_public_key(Path(os.environ["PEER_PUBLIC_KEY"]).read_bytes())
DATABASE = sqlite3.connect(
    Path(os.environ["PEER_DATABASE"]).resolve().as_uri() + "?mode=ro",
    uri=True,
    isolation_level=None,
    check_same_thread=False,
)
if DATABASE.execute("PRAGMA journal_mode").fetchone() != ("wal",):
    raise RuntimeError("PEER_DATABASE is not in WAL mode")

SELECT_RUN = """
SELECT id, status, prompt, created_at, updated_at FROM agent_runs
WHERE tenant_id = ? AND id = ?
"""

app = FastAPI(openapi_url=None)


def tenant_of(authorization: str | None) -> UUID:
    """Return the tenant of a bearer token, or raise 401."""
    scheme, _, token = (authorization or "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise ValueError("no bearer token")
        claims = jwt.decode(
            token,
            PUBLIC_KEY,
            algorithms=["ES256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iss", "aud", "tid"]},
        )
        return UUID(claims["tid"])
    except (jwt.InvalidTokenError, ValueError, AttributeError) as error:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from error


@app.get("/api/agent/runs/{id}")
async def run(id: str, authorization: Annotated[str | None, Header()] = None) -> Response:
    """Answer one run of the caller's tenant.

    `async`, though SQLite blocks: the read is shorter than a thread pool's hop.
    """
    tenant = tenant_of(authorization)
    try:
        wanted = UUID(id)
    except ValueError as error:
        raise HTTPException(404) from error
    row = DATABASE.execute(SELECT_RUN, (tenant.bytes, wanted.bytes)).fetchone()
    if row is None:
        raise HTTPException(404)
    found, status, prompt, created_at, updated_at = row
    body = {
        "id": str(UUID(bytes=found)),
        "status": status,
        "prompt": prompt,
        "createdAt": created_at,
        "updatedAt": updated_at,
    }
    return Response(orjson.dumps(body), media_type="application/json")
