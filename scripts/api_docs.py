#!/usr/bin/env python3
"""Make the two files that repeat openapi.yaml: ``api_docs.py [--check]``.

* ``docs/api.md``: the reference for people;
* ``Sources/Web/Documentation/OpenAPIDocument.swift``: the document as JSON, which
  the server answers at ``/openapi.json``.

``--check`` writes nothing and exits with 1 where a file is not what it would write.
Needs ``scripts/requirements/contract.txt``.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "docs/api.md"
SWIFT = "Sources/Web/Documentation/OpenAPIDocument.swift"

METHODS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace"))

# The media types that go without saying.
USUAL = frozenset(("application/json", "application/problem+json"))

# What the tables show in words or in columns of their own; any other keyword is shown as it stands.
SHOWN = frozenset(
    "$ref type properties required items oneOf anyOf allOf description title example examples discriminator"
    " const enum format minLength maxLength minimum maximum minItems maxItems pattern default"
    " x-data-schema".split()
)

Schema = dict[str, Any]
# The references that led to a schema, so that one that holds itself ends.
Trail = tuple[str, ...]


class Loader(yaml.SafeLoader):
    """Reads scalars as JSON has them: PyYAML would take a time for a date, ``no`` for false and ``1:30`` for 90."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for tag, pattern, first in (
    ("null", r"^(null|~|)$", ["n", "~", ""]),
    ("bool", r"^(true|false)$", ["t", "f"]),
    ("int", r"^-?(0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$", list("-0123456789")),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


def code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def codes(values: Iterable[object]) -> str:
    return ", ".join(code(value) for value in values)


def limits(values: dict[str, Any]) -> str:
    return ", ".join(f"{code(name)} {json.dumps(value)}" for name, value in values.items())


def table(header: list[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table without the columns that would be empty, or nothing without rows."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    filled = [column for column in range(len(header)) if any(row[column] for row in cells)]
    if not filled:
        return []
    lines = (header, ["---"] * len(header), *cells)
    return [f"| {' | '.join(line[column] for column in filled)} |" for line in lines] + [""]


def bounds(schema: Schema, low: str, high: str, unit: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if least is None:
        words = f"at most {most}"
    elif most is None:
        words = f"at least {least}"
    else:
        words = str(least) if least == most else f"{least} to {most}"
    plural = "s" if unit and (least if most is None else most) != 1 else ""
    return f"{words} {unit}{plural}".rstrip()


def facts(schema: Schema) -> str:
    """What a value has to be besides its type."""
    found = [
        f"always {code(schema['const'])}" if "const" in schema else "",
        f"one of {codes(schema['enum'])}" if "enum" in schema else "",
        schema.get("format", ""),
        bounds(schema, "minLength", "maxLength", "character"),
        bounds(schema, "minimum", "maximum", ""),
        bounds(schema, "minItems", "maxItems", "item"),
        f"pattern {code(schema['pattern'])}" if "pattern" in schema else "",
        f"default {code(schema['default'])}" if "default" in schema else "",
        *(
            "no other members" if (key, value) == ("additionalProperties", False) else f"{code(key)} {code(value)}"
            for key, value in schema.items()
            if key not in SHOWN
        ),
    ]
    return ", ".join(fact for fact in found if fact)


def is_null(schema: object) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


class Reference:
    """Writes docs/api.md. Types of answers are linked and follow at the end; those of requests stand in their place."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        # The schemas that were linked, in the order of their first link.
        self.linked: list[str] = []
        self.operations: list[tuple[str, str, dict[str, Any]]] = []
        for path, item in document.get("paths", {}).items():
            shared = item.get("parameters", [])
            for method in item:
                if method in METHODS:
                    operation = dict(item[method])
                    operation["parameters"] = [self.resolve(each) for each in shared + operation.get("parameters", [])]
                    operation["responses"] = {
                        status: self.resolve(answer) for status, answer in operation.get("responses", {}).items()
                    }
                    self.operations.append((method.upper(), path, operation))
        # What every operation has is said once.
        self.parameters = self.shared([operation["parameters"] for _, _, operation in self.operations])
        self.headers = self.shared(
            [
                [(name, self.resolve(header)) for name, header in answer.get("headers", {}).items()]
                for _, _, operation in self.operations
                for answer in operation["responses"].values()
            ]
        )

    @staticmethod
    def shared(lists: list[list[Any]]) -> list[Any]:
        return [each for each in lists[0] if all(each in other for other in lists)] if lists else []

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """Follows references; members beside one go before those of its target."""
        trail: set[str] = set()
        while "$ref" in node and node["$ref"] not in trail:
            trail.add(node["$ref"])
            node = {**self.target(node["$ref"]), **{key: value for key, value in node.items() if key != "$ref"}}
        return node

    def target(self, reference: str) -> Any:
        node: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
        return node

    def flatten(self, schema: Any, trail: Trail = ()) -> tuple[Schema, Trail]:
        """A schema without references, ``allOf``, and ``null`` as the one alternative."""
        if not isinstance(schema, dict):
            return {}, trail
        while "$ref" in schema:
            reference = schema["$ref"]
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            if reference in trail:
                return {"type": reference.rsplit("/", 1)[-1], **rest}, trail
            trail += (reference,)
            schema = {**self.target(reference), **rest}
        for part in schema.get("allOf", []):
            base, trail = self.flatten(part, trail)
            base = {key: value for key, value in base.items() if key != "description"}
            members = dict(base.get("properties", {}))
            for name, member in schema.get("properties", {}).items():
                members[name] = {**members.get(name, {}), **member}
            required = list(dict.fromkeys(base.get("required", []) + schema.get("required", [])))
            schema = {**base, **schema, "properties": members, "required": required}
        for key in ("oneOf", "anyOf"):
            alternatives = schema.get(key, [])
            others = [each for each in alternatives if not is_null(each)]
            if len(alternatives) == 2 and len(others) == 1 and "$ref" not in others[0]:
                other, trail = self.flatten(others[0], trail)
                kinds = other.get("type", "object")
                kinds = kinds if isinstance(kinds, list) else [kinds]
                schema = {**other, **schema, "type": [*kinds, "null"]}
                del schema[key]
        return schema, trail

    def link(self, reference: str) -> str:
        name = reference.rsplit("/", 1)[-1]
        if reference not in self.linked:
            self.linked.append(reference)
        return f"[{name}](#type-{name.lower()})"

    def type_text(self, schema: Any, links: bool, trail: Trail = ()) -> str:
        """The type in words, and what else the value has to be."""
        if links and isinstance(schema, dict) and "$ref" in schema:
            return self.link(schema["$ref"])
        schema, trail = self.flatten(schema, trail)
        kinds = schema.get("type", "object" if "properties" in schema else [])
        words = []
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if kind == "array" and "items" in schema:
                kind = f"array of {self.type_text(schema['items'], links, trail)}"
            words.append(kind)
        if not words:
            alternatives = sorted(schema.get("oneOf", schema.get("anyOf", [])), key=is_null)
            words = [self.type_text(each, True, trail) for each in alternatives]
        return ", ".join(part for part in (" or ".join(words), facts(schema)) if part) or "any"

    def members(self, schema: Any, links: bool, prefix: str = "", trail: Trail = ()) -> Iterator[list[str]]:
        """A row for each member, those of objects within it too: ``options.model``, ``items[].id``.

        An object that is one of several alternatives is linked where it has a name.
        """
        if links and isinstance(schema, dict) and "$ref" in schema:
            return
        schema, trail = self.flatten(schema, trail)
        if "items" in schema:
            yield from self.members(schema["items"], links, f"{prefix}[]", trail)
        if "properties" not in schema:
            for each in schema.get("oneOf", schema.get("anyOf", [])):
                yield from self.members(each, True, prefix, trail)
        for name, member in schema.get("properties", {}).items():
            path = f"{prefix}.{name}" if prefix else name
            # `true` is a schema too.
            member = member if isinstance(member, dict) else {}
            shown = member if links else self.flatten(member, trail)[0]
            yield [
                code(path),
                self.type_text(member, links, trail),
                "yes" if name in schema.get("required", []) else "",
                shown.get("description", ""),
            ]
            yield from self.members(member, links, path, trail)

    def variants(self, schema: Schema, links: bool) -> list[str]:
        """The alternatives of an object that has members besides."""
        alternatives = schema.get("oneOf", schema.get("anyOf", [])) if "properties" in schema else []
        lines = []
        for variant in alternatives:
            parts = [f"{row[0]} is {row[1]}" for row in self.members(variant, links)]
            lines.append(f"- {'; '.join(parts) or self.type_text(variant, links)}")
        return ["One of:", "", *lines, ""] if lines else []

    def schema(self, schema: Any, links: bool) -> list[str]:
        """The members of a schema, or its type where it has none."""
        lines = []
        if links:
            schema = self.resolve(schema)
            bases = [self.link(part["$ref"]) for part in schema.get("allOf", []) if "$ref" in part]
            if bases:
                lines += [f"All that {' and '.join(bases)} has, and:", ""]
                schema = {**schema, "allOf": [part for part in schema["allOf"] if "$ref" not in part]}
        flat, _ = self.flatten(schema)
        rows = list(self.members(schema, links))
        lines += table(["member", "type", "required", "description"], rows)
        if rows:
            rules = facts(flat)
            lines += [f"Besides: {rules}.", ""] if rules else []
        if not rows or "properties" not in flat:
            lines += [f"Type: {self.type_text(flat, links)}.", ""]
        lines += self.variants(flat, links)
        if "x-data-schema" in flat:
            lines += [f"`data`: {self.type_text(flat['x-data-schema'], links=True)}.", ""]
        return lines

    def parameter_table(self, parameters: list[dict[str, Any]]) -> list[str]:
        return table(
            ["parameter", "in", "type", "required", "description"],
            (
                [
                    code(each["name"]),
                    each["in"],
                    self.type_text(each.get("schema", {}), links=False),
                    "yes" if each.get("required") else "",
                    each.get("description", ""),
                ]
                for each in parameters
            ),
        )

    def request(self, body: dict[str, Any]) -> list[str]:
        body = self.resolve(body)
        lines = []
        for media_type, content in body.get("content", {}).items():
            needed = "required" if body.get("required") else "optional"
            schema = content.get("schema", {})
            lines += [f"Body, {needed}: `{media_type}`", ""]
            description = self.flatten(schema)[0].get("description", "")
            lines += [description.strip(), ""] if description else []
            lines += self.schema(schema, links=False)
            for part, encoding in content.get("encoding", {}).items():
                lines += [f"Part {code(part)}: {limits(encoding)}.", ""]
        return lines

    def answers(self, operation: dict[str, Any]) -> list[str]:
        rows = []
        for status, answer in operation["responses"].items():
            bodies = [
                ("" if media_type in USUAL else f"`{media_type}` ") + self.type_text(content.get("schema", {}), links=True)
                for media_type, content in answer.get("content", {}).items()
            ]
            headers = [(name, self.resolve(header)) for name, header in answer.get("headers", {}).items()]
            special = [
                f"{code(name)}: {header.get('description', '')}"
                for name, header in headers
                if (name, header) not in self.headers
            ]
            rows.append([status, answer.get("description", ""), "<br>".join(bodies), "<br>".join(special)])
        return table(["status", "answer", "body", "headers"], rows)

    def operation(self, method: str, path: str, operation: dict[str, Any]) -> list[str]:
        permission = operation.get("x-permission", "open")
        deprecated = " Deprecated." if operation.get("deprecated") else ""
        lines = [
            f"### `{method} {path}`",
            "",
            f"**{operation.get('summary', '')}** (`{operation['operationId']}`). Permission: `{permission}`.{deprecated}",
            "",
        ]
        if operation.get("description"):
            lines += [operation["description"].strip(), ""]
        lines += self.parameter_table([each for each in operation["parameters"] if each not in self.parameters])
        lines += self.request(operation.get("requestBody", {}))
        lines += self.answers(operation)
        if operation.get("x-limits"):
            lines += [f"Limits: {limits(operation['x-limits'])}.", ""]
        if operation.get("x-error-codes"):
            lines += [f"Errors: {codes(operation['x-error-codes'])}.", ""]
        return lines

    def every_operation(self) -> list[str]:
        lines = self.parameter_table(self.parameters)
        lines += [f"Every answer below has {code(name)}: {header.get('description', '')}\n" for name, header in self.headers]
        for key, value in self.document.items():
            if key.startswith("x-"):
                words = key.removeprefix("x-").replace("-", " ").capitalize()
                lines += [f"{words}: {limits(value) if isinstance(value, dict) else codes(value)}.", ""]
        return ["## Every operation", "", *lines] if lines else []

    def tag(self, name: str, description: str) -> list[str]:
        own = [each for each in self.operations if each[2].get("tags", ["other"])[0] == name]
        if not own:
            return []
        lines = [f"## {name}", "", *([description.strip(), ""] if description else [])]
        lines += table(
            ["method", "path", "permission", "summary"],
            (
                [
                    method,
                    f"[`{path}`](#{self.anchor(method, path)})",
                    code(operation.get("x-permission", "open")),
                    operation.get("summary", ""),
                ]
                for method, path, operation in own
            ),
        )
        for each in own:
            lines += self.operation(*each)
        return lines

    @staticmethod
    def anchor(method: str, path: str) -> str:
        """The anchor that a heading gets where Markdown is shown: what is no word, no space and no hyphen falls away."""
        return re.sub(r"[^\w\- ]", "", f"{method} {path}".lower()).replace(" ", "-")

    def types(self) -> list[str]:
        parts = []
        # A type that is shown can link to further ones, which are then appended.
        for reference in self.linked:
            lines = [f"### Type {reference.rsplit('/', 1)[-1]}", ""]
            description = self.target(reference).get("description", "").strip()
            lines += [description, ""] if description else []
            parts.append(lines + self.schema({"$ref": reference}, links=True))
        return ["## Types", "", *(line for lines in sorted(parts) for line in lines)] if parts else []

    def text(self) -> str:
        info = self.document["info"]
        names = {tag["name"]: tag.get("description", "") for tag in self.document.get("tags", [])}
        for _, _, operation in self.operations:
            names.setdefault(operation.get("tags", ["other"])[0], "")
        lines = [
            f"# The API of {info['title']}",
            "",
            f"Version {info['version']}. Made from `openapi.yaml` by `make docs`: change that file, not this one. A server"
            " shows the same, with examples, at `/docs`. [errors.md](errors.md) says what to do about each error code.",
            "",
            info.get("description", "").strip(),
            "",
            *self.every_operation(),
        ]
        for name, description in names.items():
            lines += self.tag(name, description)
        lines += self.types()
        return "\n".join(lines).rstrip() + "\n"


def swift(document: dict[str, Any]) -> str:
    """The document as JSON in a raw literal, one line for each member of the root."""
    # In ASCII nothing depends on how an editor or a compiler reads the file.
    members = [f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in document.items()]
    content = "{" + ",\n    ".join(members) + "}"
    hashes = "##"
    while f'"""{hashes}' in content or f"\\{hashes}" in content:
        hashes += "#"
    return (
        "// swift-format-ignore-file\n"
        "// Made from openapi.yaml by `make docs`; a check holds the two to each other.\n"
        "\n"
        "/// openapi.yaml as JSON, as `/openapi.json` answers it.\n"
        "enum OpenAPIDocument {\n"
        f'    static let json = {hashes}"""\n'
        f"    {content}\n"
        f'    """{hashes}\n'
        "}\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Make docs/api.md and OpenAPIDocument.swift from openapi.yaml.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is old")
    check = parser.parse_args().check
    document = yaml.load((ROOT / "openapi.yaml").read_text(encoding="utf-8"), Loader)
    # Keys that YAML took for numbers, such as a status without quotes, become the strings that JSON has.
    document = json.loads(json.dumps(document))
    old = []
    for name, text in ((REFERENCE, Reference(document).text()), (SWIFT, swift(document))):
        file = ROOT / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        if check:
            old.append(name)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    for name in old:
        print(f"{name} is old: make docs", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
