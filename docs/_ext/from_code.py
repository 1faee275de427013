"""Parts of the documentation that are drawn from the code, so that they cannot differ from it."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from jobq import MOVES, JobStatus
from jobq.backends import _tables
from jobq.backends._dialect import PostgresDialect, SqliteDialect
from jobq.http import ROUTES, Route, shapes

Cell = list[nodes.Node]
ROOT = Path(__file__).parents[2]


def table(heads: list[str], rows: list[list[Cell]]) -> nodes.table:
    """A table of cells."""

    def row(cells: list[Cell]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))

    columns = (nodes.colspec(colwidth=1) for _ in heads)
    head = nodes.thead("", row([[nodes.Text(head)] for head in heads]))
    body = nodes.tbody("", *map(row, rows))
    return nodes.table("", nodes.tgroup("", *columns, head, body, cols=len(heads)))


def words(values: Iterator[str] | tuple[str, ...] | list[str]) -> Cell:
    """Code words with commas between them."""
    cell: Cell = []
    for value in values:
        cell += [nodes.Text(", ")] if cell else []
        cell.append(nodes.literal(text=str(value)))
    return cell


class Moves(Directive):
    """`{moves}`: the verbs, and the statuses that they lead from and to."""

    def run(self) -> list[nodes.Node]:
        rows = [
            [
                words([move.verb]),
                words(move.sources),
                words(move.targets) or [nodes.Text("gone")],
                [nodes.Text(move.meaning)],
            ]
            for move in MOVES.values()
        ]
        return [table(["verb", "from", "to", "meaning"], rows)]


class MovesMatrix(Directive):
    """`{moves-matrix}`: which verbs lead from one status to another."""

    def run(self) -> list[nodes.Node]:
        verbs = defaultdict(list)
        for move in MOVES.values():
            for source in move.sources:
                for target in move.targets:
                    verbs[source, target].append(move.verb)
        rows = [
            [words([source]), *(words(verbs[source, target]) for target in JobStatus)]
            for source in JobStatus
        ]
        return [table(["from ↓ to →", *JobStatus], rows)]


BOX = (150, 36)
PLACES = {
    JobStatus.PENDING: (100, 40),
    JobStatus.RATE_LIMITED: (100, 150),
    JobStatus.WAITING: (100, 260),
    JobStatus.PROCESSING: (390, 150),
    JobStatus.COMPLETED: (680, 40),
    JobStatus.FAILED: (680, 150),
    JobStatus.CANCELLED: (680, 260),
}


class MovesDiagram(Directive):
    """`{moves-diagram}`: the moves of the verbs that are named, as a drawing."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        verbs = defaultdict(list)
        for verb in self.arguments[0].split():
            for source in MOVES[verb].sources:
                for target in MOVES[verb].targets:
                    verbs[source, target].append(verb)
        parts = [arrow(*ends(source, target)) for source, target in verbs]
        parts += [label(*ends(*pair), ", ".join(names)) for pair, names in verbs.items()]
        parts += [box(status) for status in JobStatus]
        svg = (
            '<svg viewBox="0 0 780 300" role="img" style="max-width:780px;width:100%" '
            'xmlns="http://www.w3.org/2000/svg"><defs><marker id="tip" viewBox="0 0 8 8" refX="8" '
            'refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" '
            f'fill="currentColor"/></marker></defs>{"".join(parts)}</svg>'
        )
        return [nodes.raw("", svg, format="html")]


def box(status: JobStatus) -> str:
    x, y = PLACES[status]
    width, height = BOX
    dashes = "" if status.finished else 'stroke-dasharray="5 3"'
    return (
        f'<rect x="{x - width / 2}" y="{y - height / 2}" width="{width}" height="{height}" rx="8" '
        f'fill="none" stroke="currentColor" {dashes}/><text x="{x}" y="{y + 5}" '
        f'text-anchor="middle" font-size="15" fill="currentColor">{status}</text>'
    )


def ends(source: JobStatus, target: JobStatus) -> tuple[float, float, float, float]:
    """From the side of one box to the side of another; the two directions keep apart."""
    (x1, y1), (x2, y2) = PLACES[source], PLACES[target]
    side, shift = (BOX[0] / 2, -8) if x2 > x1 else (-BOX[0] / 2, 8)
    return x1 + side, y1 + shift, x2 - side, y2 + shift


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" '
        'marker-end="url(#tip)"/>'
    )


def label(x1: float, y1: float, x2: float, y2: float, text: str) -> str:
    """The verbs on an arrow, nearer to where it begins."""
    x, y = x1 + 0.42 * (x2 - x1), y1 + 0.42 * (y2 - y1) + 4
    return (
        f'<text x="{x}" y="{y}" text-anchor="middle" font-size="12" fill="currentColor" '
        'stroke="var(--color-background-primary, white)" stroke-width="6" paint-order="stroke">'
        f"{text}</text>"
    )


class Columns(Directive):
    """`{columns} TABLE`: its columns; each line of the body is `column: what it means`."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        columns = _tables.metadata.tables[self.arguments[0]].columns
        meanings = dict(line.split(": ", 1) for line in self.content if line)
        if list(meanings) != list(columns.keys()):
            odd = set(meanings) ^ set(columns.keys()) or "their order"
            raise self.error(f"columns of {self.arguments[0]}: {odd}")
        rows = []
        for column in columns:
            kinds = [
                str(column.type.compile(dialect.sqlalchemy)).lower()
                for dialect in (PostgresDialect, SqliteDialect)
            ]
            rows.append([words([column.name]), *([nodes.Text(kind)] for kind in kinds)])
            rows[-1].append(self.parse_inline(meanings[column.name])[0])
        return [table(["column", "PostgreSQL", "SQLite", "meaning"], rows)]

    def parse_inline(self, text: str) -> tuple[Cell, Cell]:
        return self.state.inline_text(text, self.lineno)


class Metrics(Directive):
    """`{metrics} MODULE`: the metrics of `jobq.contrib.prometheus` or `jobq.contrib.otel`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        about = import_module(f"jobq.contrib.{self.arguments[0]}").METRICS
        heads = [field.name for field in attrs.fields(type(about[0])) if field.name != "help"]
        rows = [
            [*(listed(getattr(one, head)) for head in heads), [nodes.Text(one.help)]]
            for one in about
        ]
        return [table([*heads, "meaning"], rows)]


def listed(value: str | tuple[str, ...]) -> Cell:
    return words((value,) if isinstance(value, str) else value)


class Routes(Directive):
    """`{routes} PART`: the routes of one part of the HTTP API, a section for each."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        found = [route for route in ROUTES if route.part == self.arguments[0]]
        return [section(route) for route in found]


def section(route: Route) -> nodes.section:
    title = f"{route.method} /jobs{route.path}"
    made = nodes.section("", ids=[f"route-{route.name}"], names=[title.lower()])
    made += nodes.title("", "", nodes.literal(text=title))
    policies = [nodes.Text("To policies it is "), *words([route.name]), nodes.Text(".")]
    made += nodes.paragraph("", "", nodes.Text(f"{route.summary}. "), *policies)
    if route.parameters:
        rows = [
            [
                words([parameter.name]),
                [nodes.Text(parameter.where)],
                in_code(parameter.summary),
            ]
            for parameter in route.parameters
        ]
        made += table(["parameter", "in", "meaning"], rows)
    if route.body is not None:
        made += nodes.paragraph("", "", nodes.Text("Body: "), *members(route.body))
    made += table(
        ["status", "meaning", "body", "headers"],
        [
            [
                words([answer.status]),
                in_code(answer.summary),
                members(answer.shape) or words([answer.media_type] * (answer.status == 200)),
                words(answer.headers),
            ]
            for answer in route.answers
        ],
    )
    return made


def members(shape: Any) -> Cell:
    """The members of a JSON object, by their names."""
    if shape is None:
        return []
    if shape is shapes.ProblemView:
        return [nodes.Text("a problem")]
    if shape is shapes.JobView:
        return [nodes.Text("a job")]
    return words([field.name for field in fields(shape)])


def in_code(text: str) -> Cell:
    """Text with code words in backticks."""
    parts = text.split("`")
    return [nodes.literal(text=part) if n % 2 else nodes.Text(part) for n, part in enumerate(parts)]


class Members(Directive):
    """`{members} SHAPE`: the members of a JSON object; each line is `member: what it means`."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        names = [field.name for field in fields(getattr(shapes, self.arguments[0]))]
        meanings = dict(line.split(": ", 1) for line in self.content if line)
        if list(meanings) != names:
            odd = set(meanings) ^ set(names) or "their order"
            raise self.error(f"members of {self.arguments[0]}: {odd}")
        return [table(["member", "meaning"], [[words([n]), in_code(meanings[n])] for n in names])]


class Floors(Directive):
    """`{floors}`: the modules of jobq, each above those that it may import."""

    def run(self) -> list[nodes.Node]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        [contract] = [
            one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
        ]
        rows: list[list[Cell]] = []
        for height, layer in enumerate(reversed(contract["layers"])):
            rooms = re.findall(r"\w+", layer)
            rows += [
                [[nodes.Text(str(height))], words([room]), in_code(purpose(room))] for room in rooms
            ]
        return [table(["floor", "module", "what it is about"], [*reversed(rows)])]


def purpose(room: str) -> str:
    """The first sentence of a module, without its full stop."""
    said = (import_module(f"jobq.{room}").__doc__ or "").partition("\n")[0]
    if not said:
        raise ValueError(f"jobq.{room} does not say what it is about")
    return said.rstrip(".")


def setup(app: Sphinx) -> dict[str, bool]:
    for name, directive in {
        "moves": Moves,
        "moves-matrix": MovesMatrix,
        "moves-diagram": MovesDiagram,
        "columns": Columns,
        "metrics": Metrics,
        "routes": Routes,
        "members": Members,
        "floors": Floors,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
