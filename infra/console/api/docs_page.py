"""`/api/docs`: the OpenAPI document as a page to read. No script, nothing from anywhere else."""

import html
import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from infra.console.access.headers import PLAIN_PAGE
from infra.console.access.roles import Role
from infra.console.desk.desk import desk_of
from infra.console.plain_page import plain_page

router = APIRouter(include_in_schema=False)


@router.get("/api/docs")
async def docs(request: Request) -> Response:
    """Show every route: what it is for, who may use it, what it takes and answers."""
    desk_of(request).visitor.require(Role.READER)
    page = plain_page("API", _body(request.app.openapi()))
    return HTMLResponse(page, headers={"content-security-policy": PLAIN_PAGE})


def _body(document: dict[str, Any]) -> str:
    about = "".join(f"<p>{html.escape(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    parts = [f"<h1>{html.escape(document['info']['title'])}</h1>{about}"]
    parts.append(f'<p>For programs: <a href="/api/openapi.json">openapi.json</a></p>{_problems(document)}')
    tag = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"<h2>{html.escape(tag)}</h2>")
            parts.append(_operation(method, path, operation))
    parts.append("<h2>shapes</h2>")
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    first, _, rest = operation.get("description", "").partition("\n\n")
    rows = "".join(_parameter(parameter) for parameter in operation.get("parameters", []))
    table = f"<table><tr><th>parameter<th>in<th>what</tr>{rows}</table>" if rows else ""
    return (
        f'<details><summary><span class="role">{operation.get("x-role") or "everybody"}</span>'
        f"<code>{method.upper()} {html.escape(path)}</code> {html.escape(first)}</summary>"
        f"<p>{html.escape(rest)}</p>{table}{_bodies(operation)}</details>"
    )


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    what = parameter.get("description") or schema.get("description") or ""
    needed = " (needed)" if parameter.get("required") else ""
    return (
        f"<tr><td><code>{html.escape(parameter['name'])}</code>{needed}<td>{parameter['in']}"
        f"<td>{html.escape(what)} <code>{html.escape(_short(schema))}</code></tr>"
    )


def _bodies(operation: dict[str, Any]) -> str:
    lines = []
    if "requestBody" in operation:
        lines.append(f"takes {_names(operation['requestBody'])}")
    lines += [
        f"answers {status} {_names(response)}"
        for status, response in sorted(operation["responses"].items())
        if not _is_problem(status)
    ]
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _problems(document: dict[str, Any]) -> str:
    """Return what every route answers when something is wrong."""
    found = {
        status: response["description"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        if _is_problem(status)
    }
    rows = "".join(f"<tr><td>{status}<td>{html.escape(found[status])}</tr>" for status in sorted(found))
    return f"<details><summary>Errors</summary><table>{rows}</table></details>"


def _is_problem(status: str) -> bool:
    return status >= "400"


def _names(part: dict[str, Any]) -> str:
    return ", ".join(
        f"{html.escape(kind)} <code>{_linked(_short(content.get('schema', {})))}</code>"
        for kind, content in part.get("content", {}).items()
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = html.escape(json.dumps(schema, indent=2, ensure_ascii=False))
    anchor = html.escape(name)
    return f'<details id="{anchor}"><summary><code>{anchor}</code></summary><pre>{text}</pre></details>'


def _linked(name: str) -> str:
    """Return a name as HTML, a shape's as a link to it."""
    text = html.escape(name)
    return f'<a href="#{text}">{text}</a>' if name[:1].isupper() else text


def _short(schema: dict[str, Any]) -> str:
    """Return a schema in a few letters: the name of a shape, or its type."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_short(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return f"[{_short(schema.get('items', {}))}]"
    return str(schema.get("const") or schema.get("format") or schema.get("type") or "")
