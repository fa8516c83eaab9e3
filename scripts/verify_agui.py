#!/usr/bin/env python3
"""Verify the AG-UI event log of one run.

Reads newline-delimited JSON from standard input, one event per line as sent in
the SSE ``data:`` field, and holds three sets of rules:

* shape: every event parses with the ``ag_ui.core`` models, strictly and with the
  camelCase wire names only; an optional field without a value is absent, not null;
* order: RUN_STARTED comes first and once, nothing follows RUN_FINISHED or
  RUN_ERROR, whatever opens (message, tool call, step, ...) is open before it is
  continued or closed, and all of it is closed before RUN_FINISHED;
* our own log: no empty ``delta``; ``seq`` counts 1, 2, 3, ... on every event or on
  none; ``runId`` and ``threadId``, where present, never change; ``timestamp``,
  where present, is in milliseconds and never goes back.

Chunk events (``*_CHUNK``) are only checked for shape. ``--finished`` also asks for
the RUN_FINISHED or RUN_ERROR that ends a whole run.

Prints one ``line N: TYPE: what is wrong`` per violation, then
``events: N, violations: M``. Exit status: 0 none, 1 some, 2 wrong usage.
Needs ``scripts/requirements/agui.txt``.
"""

import argparse
import json
import sys
from typing import Any, NoReturn

from ag_ui.core import Event, EventType
from pydantic import TypeAdapter, ValidationError

MODELS: TypeAdapter[Any] = TypeAdapter(Event)
TYPES = frozenset(member.value for member in EventType)

# Event type -> (what it is about, the field that identifies it, what it does to it).
SPANS: dict[str, tuple[str, str, str]] = {
    "TEXT_MESSAGE_START": ("text message", "messageId", "open"),
    "TEXT_MESSAGE_CONTENT": ("text message", "messageId", "continue"),
    "TEXT_MESSAGE_END": ("text message", "messageId", "close"),
    "TOOL_CALL_START": ("tool call", "toolCallId", "open"),
    "TOOL_CALL_ARGS": ("tool call", "toolCallId", "continue"),
    "TOOL_CALL_END": ("tool call", "toolCallId", "close"),
    "STEP_STARTED": ("step", "stepName", "open"),
    "STEP_FINISHED": ("step", "stepName", "close"),
    "REASONING_START": ("reasoning span", "messageId", "open"),
    "REASONING_END": ("reasoning span", "messageId", "close"),
    "REASONING_MESSAGE_START": ("reasoning message", "messageId", "open"),
    "REASONING_MESSAGE_CONTENT": ("reasoning message", "messageId", "continue"),
    "REASONING_MESSAGE_END": ("reasoning message", "messageId", "close"),
    "SUBAGENT_STARTED": ("subagent", "subagentRunId", "open"),
    "SUBAGENT_FINISHED": ("subagent", "subagentRunId", "close"),
    "SUBAGENT_ERROR": ("subagent", "subagentRunId", "close"),
}

# Milliseconds from 2001 to 2286; seconds, microseconds and nanoseconds fall outside.
MILLISECONDS = range(10**12, 10**13)


def reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Verifier:
    """Takes the lines of one log in order and prints what is wrong with them."""

    def __init__(self) -> None:
        self.line = 0
        self.type = "?"
        self.events = 0
        self.violations = 0
        self.started = False
        self.ended_by: str | None = None
        self.opened: dict[str, set[str]] = {}
        self.identity: dict[str, object] = {}
        self.has_seq: bool | None = None
        self.last_seq = 0
        self.last_timestamp: int | None = None

    def report(self, problem: str) -> None:
        self.violations += 1
        print(f"line {self.line}: {self.type}: {problem}")

    def take(self, text: bytes) -> None:
        """Verify the next line; a blank one is no event."""
        self.line += 1
        if not text.strip():
            return
        self.events += 1
        self.type = "?"
        try:
            event = json.loads(text, parse_constant=reject_constant)
            if not isinstance(event, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            self.last_seq += 1
            return self.report(f"not a JSON object: {error}")
        name = event.get("type")
        if isinstance(name, str) and name in TYPES:
            self.type = name
            self.check_shape(text)
        else:
            self.report(f"unknown event type {name!r}")
        self.check_order(event)
        self.check_log(event)

    def finish(self, must_be_finished: bool) -> None:
        """Verify the end of the log."""
        self.type = "?"
        if self.events == 0:
            self.report("no events, the first must be RUN_STARTED")
        elif must_be_finished and self.ended_by is None:
            self.report("the log ends without RUN_FINISHED or RUN_ERROR")

    def check_shape(self, text: bytes) -> None:
        try:
            event = MODELS.validate_json(text, strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_input=False):
                where = ".".join(str(part) for part in item["loc"][1:])
                self.report(f"{where}: {item['msg']}" if where else item["msg"])
            return
        for name, field in type(event).model_fields.items():
            sent = name in event.model_fields_set
            if sent and not field.is_required() and getattr(event, name) is None:
                self.report(f"{field.alias}: null, an absent value must be left out")

    def check_order(self, event: dict[str, Any]) -> None:
        if self.events == 1 and self.type != "RUN_STARTED":
            self.report("the first event must be RUN_STARTED")
        if self.ended_by is not None:
            return self.report(f"the run has already ended with {self.ended_by}")
        if self.type == "RUN_STARTED":
            if self.started:
                self.report("the run has already started")
            self.started = True
        if self.type in SPANS:
            self.check_span(event, *SPANS[self.type])
        if self.type == "RUN_FINISHED":
            for kind, ids in self.opened.items():
                for identifier in sorted(ids):
                    self.report(f"{kind} {identifier!r} is still open")
        if self.type in ("RUN_FINISHED", "RUN_ERROR"):
            self.ended_by = self.type

    def check_span(self, event: dict[str, Any], kind: str, key: str, action: str) -> None:
        identifier = event.get(key)
        if not isinstance(identifier, str):
            return  # Reported as a wrong shape.
        ids = self.opened.setdefault(kind, set())
        if action == "open":
            if identifier in ids:
                self.report(f"{kind} {identifier!r} is already open")
            ids.add(identifier)
        elif identifier not in ids:
            self.report(f"{kind} {identifier!r} is not open")
        elif action == "close":
            ids.remove(identifier)

    def check_log(self, event: dict[str, Any]) -> None:
        if event.get("delta") in ("", []):
            self.report("delta is empty")
        self.check_seq(event)
        for key in ("runId", "threadId"):
            if key in event and event[key] != self.identity.setdefault(key, event[key]):
                self.report(f"{key} is {event[key]!r}, was {self.identity[key]!r}")
        if "timestamp" in event:
            self.check_timestamp(event["timestamp"])

    def check_seq(self, event: dict[str, Any]) -> None:
        if self.has_seq is None:
            self.has_seq = "seq" in event
        if ("seq" in event) != self.has_seq:
            self.report("seq is missing" if self.has_seq else "seq, which the first event lacks")
        if "seq" not in event:
            self.last_seq += 1
            return
        seq = event["seq"]
        if type(seq) is not int:
            self.report(f"seq is {seq!r}, not an integer")
            seq = self.last_seq + 1
        elif seq != self.last_seq + 1:
            self.report(f"seq is {seq}, not {self.last_seq + 1}")
        self.last_seq = seq

    def check_timestamp(self, timestamp: object) -> None:
        if type(timestamp) is not int:
            return  # Reported as a wrong shape.
        if timestamp not in MILLISECONDS:
            self.report(f"timestamp {timestamp} is not in milliseconds since 1970")
        if self.last_timestamp is not None and timestamp < self.last_timestamp:
            self.report(f"timestamp {timestamp} is before {self.last_timestamp}")
        self.last_timestamp = timestamp


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Verify the AG-UI event log of one run: one JSON event per line of input."
    )
    parser.add_argument(
        "--finished", action="store_true", help="the log must end with RUN_FINISHED or RUN_ERROR"
    )
    arguments = parser.parse_args()
    verifier = Verifier()
    for text in sys.stdin.buffer:
        verifier.take(text)
    verifier.finish(arguments.finished)
    print(f"events: {verifier.events}, violations: {verifier.violations}")
    return 1 if verifier.violations else 0


if __name__ == "__main__":
    sys.exit(main())
