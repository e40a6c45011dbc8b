"""The API's description for programs, made of its routes. Source: OpenAPI Specification 3.1.1."""

from collections.abc import Sequence
from types import UnionType
from typing import Any, get_args

import msgspec

from taskbus import __version__
from taskbus.web.routes import API, Endpoint
from taskbus.web.shapes.basis import Failed

_REF = "#/components/schemas/{name}"
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token that taskbus web token made."},
    "password": {"type": "http", "scheme": "basic"},
    "session": {"type": "apiKey", "in": "cookie", "name": "taskbus_session", "description": "Made by signing in."},
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document. ``x-role`` of an operation is the least role that it needs."""
    types = [
        kind
        for endpoint in endpoints
        for kind in (endpoint.query, endpoint.body, *alternatives(endpoint.answer))
        if kind
    ]
    distinct = list({repr(kind): kind for kind in (*types, Failed)}.values())
    schemas, components = msgspec.json.schema_components(distinct, ref_template=_REF)
    known = {repr(kind): schema for kind, schema in zip(distinct, schemas, strict=True)}
    queries = {repr(endpoint.query) for endpoint in endpoints if endpoint.query}
    names = {known[query]["$ref"].rpartition("/")[2] for query in queries}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, known, components)
        paths.setdefault(API + endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TaskBus",
            "version": __version__,
            "description": "What the page of TaskBus shows and does. Instants are Unix seconds, durations seconds.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in names},
            "securitySchemes": _SCHEMES,
        },
        "security": [{name: []} for name in _SCHEMES] + [{}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
    }


def alternatives(answer: Any) -> tuple[Any, ...]:
    """The shapes that an answer may have: several, of a union."""
    return get_args(answer) if isinstance(answer, UnionType) else (answer,)


def _answer(endpoint: Endpoint, known: dict[str, Any]) -> dict[str, Any]:
    found = [known[repr(kind)] for kind in alternatives(endpoint.answer)]
    return {"anyOf": found} if len(found) > 1 else found[0]


def _operation(endpoint: Endpoint, known: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "x-role": endpoint.role.name.lower(),
        "parameters": [
            {"name": part, "in": "path", "required": True, "schema": {"type": "string"}} for part in endpoint.parts
        ],
        "responses": {
            "200": {
                "description": "What was asked for",
                "content": {endpoint.media: {"schema": _answer(endpoint, known)}},
            },
            "default": {
                "description": "Why not, and what to do",
                "content": {"application/json": {"schema": known[repr(Failed)]}},
            },
        },
    }
    if endpoint.query is not None:
        shape = components[known[repr(endpoint.query)]["$ref"].rpartition("/")[2]]
        operation["parameters"] += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in shape["properties"].items()
        ]
    if endpoint.body is not None:
        content = {"application/json": {"schema": known[repr(endpoint.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
