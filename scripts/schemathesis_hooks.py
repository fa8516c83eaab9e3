"""Where scripts/schemathesis.py has schemathesis do otherwise, and why."""

import json
import os
import re
import uuid

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import CoverageScenario

# These answer requests that their schema allows, and that do not fit what there is.
NOT_FITTING = {
    "confirmation_wrong",
    "invalid_cursor",
    "invitation_invalid",
    "reset_invalid",
    "unknown_model",
    "unknown_tool",
}
# So do these, of `invalid_request`: they begin so.
NOT_FITTING_DETAILS = (
    r"from must be before to, by at most 400 days, and not before 1970\.",
    r"expiresAt must be in the future\.",
    r"(The|A) cron expression ",
    r"The .+ field of the cron expression cannot be ",
    r"There is no (cron nickname|time zone) ",
    r"url (cannot be asked|must (be a URL|be no inward address|begin with https://|have no fragment))",
    r"events\[\d+\]\.type has no schema; ",
    # The data of an event is held to the schema of its type.
    r"events\[\d+\]\.data\b",
    r"The tenant has \d+ (schedules|webhooks|schemas) already\.",
)


@schemathesis.hook
def before_call(context, case, kwargs):
    # Whoever changed or removed themselves would be signed out, and all requests after that test nothing.
    if case.method != "GET" and case.path_parameters.get("id") == os.environ["CALLER_ID"]:
        case.path_parameters["id"] = str(uuid.UUID(int=0))
    # Requests that wait for a run would take too long while its queue is paused. None waits for a document.
    if case.method == "PATCH" and case.path_parameters.get("queue") == "run":
        case.path_parameters["queue"] = "index_document"
    # A key is good for one body, and the example's would come with many.
    key = (case.headers or {}).get("Idempotency-Key")
    if key is not None and case.meta.generation.mode.is_positive:
        case.headers["Idempotency-Key"] = (key + case.id)[-200:]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Answers false when the failure is none."""
    if "positive_data_acceptance" in failure.checks:
        problem = json.loads(response.content)
        if problem["code"] == "unsupported_media_type" and case.media_type == "multipart/form-data":
            # schemathesis sends files of other types than the contract's `encoding` names.
            return False
        return problem["code"] not in NOT_FITTING and not re.match("|".join(NOT_FITTING_DETAILS), problem["detail"])
    if "negative_data_rejection" in failure.checks:
        return not (is_other_preference(case) or has_only_unknown_parameters(case) or is_text_in_form(case))
    return True


def is_other_preference(case):
    """Preferences that a server does not know are not errors (RFC 7240)."""
    preference = (case.headers or {}).get("Prefer", "wait=")
    return not preference.startswith("wait=") and not case.meta.is_negative_at(ParameterLocation.BODY)


def has_only_unknown_parameters(case):
    """Unknown headers and query parameters are ignored; schemathesis forgets that next to a header with a number."""
    data = case.meta.phase.data
    return (
        getattr(data, "scenario", None) == CoverageScenario.OBJECT_UNEXPECTED_PROPERTIES
        and data.parameter_location != ParameterLocation.BODY
    )


def is_text_in_form(case):
    """In a form every number is a text, which these parts are to be."""
    if case.media_type != "multipart/form-data" or not isinstance(case.body, dict):
        return False
    return any(name in case.body and not isinstance(case.body[name], str) for name in ("title", "collection"))


@schemathesis.deserializer("text/event-stream", "application/x-ndjson", "text/csv")
def text(context, response):
    """In the contract these are strings. schemathesis would take the events of a stream for objects."""
    return response.content.decode()
