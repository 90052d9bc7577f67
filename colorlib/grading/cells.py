"""Find the answers in the cells of a submitted notebook, and what they need, and run that.

This works on text that anybody may have written, so it runs in the submission's own process. A notebook's
cells may be missing, doubled, renamed or in another order: what is found is taken, and what is odd is said.
"""

from __future__ import annotations

import ast
import dis
import re
import types
from dataclasses import dataclass, field

from colorlib.grading.source import MARKER

ROUNDS = 4  # statements that a missing name stopped are tried again, for cells in another order
MAGICS = re.compile(r"^\s*(%%(time|capture|timeit|prun)\b.*)$")


@dataclass
class Statement:
    """One statement at the top level of a notebook: its place, the names that it makes and needs."""

    cell: int
    node: ast.stmt
    code: types.CodeType | None
    binds: set[str]
    reads: set[str]
    changes: set[str]
    marked: frozenset[str]


@dataclass
class Notebook:
    """The statements of a notebook, and remarks on cells that could not be read."""

    statements: list[Statement] = field(default_factory=list)
    broken: list[dict] = field(default_factory=list)
    marks: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class Found:
    """The statements that make the answers, in their order; remarks, and what is missing by question."""

    run: list[Statement]
    notes: list[str]
    missing: dict[str, str]
    alias: dict[str, str]


def parse(cells: list[str], first: int = 1) -> Notebook:
    """Take the code cells of a notebook apart; they are numbered from `first`."""
    notebook = Notebook()
    for number, source in enumerate(cells, first):
        marked = frozenset(MARKER.findall(source))
        for name in marked:
            notebook.marks.setdefault(name, []).append(number)
        try:
            tree = ast.parse(as_python(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line, what = getattr(error, "lineno", None), getattr(error, "msg", None) or str(error)
            defined = re.findall(r"(?m)^\s*def\s+(\w+)", source)
            said = {"cell": number, "line": line or 0, "what": what[:200]}
            notebook.broken.append({**said, "names": sorted({*defined, *marked})})
            continue
        notebook.statements += [_statement(number, node, marked) for node in tree.body]
    return notebook


def as_python(source: str) -> str:
    """A cell's text with its magics and shell commands as the calls that IPython makes of them."""
    from IPython.core.inputtransformer2 import TransformerManager

    lines = source.split("\n")
    while lines and (not lines[0].strip() or MAGICS.match(lines[0])):
        lines[0] = ""  # what such a magic is put on is Python
        blank = next((k for k, line in enumerate(lines) if line.strip()), None)
        if blank is None or not MAGICS.match(lines[blank]):
            break
        lines[blank] = ""
    source = "\n".join(lines)
    if source.lstrip().startswith("%%"):
        return ""  # of another language
    try:
        ast.parse(source)
        return source  # most cells; the line numbers stay
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        try:
            return TransformerManager().transform_cell(source)
        except SyntaxError:
            return source


def _statement(cell: int, node: ast.stmt, marked: frozenset[str]) -> Statement:
    try:
        code = compile(ast.Module([node], []), f"<cell {cell}>", "exec")
    except (SyntaxError, ValueError, RecursionError):  # such as a return outside of a function
        return Statement(cell, node, None, set(), set(), set(), marked)
    binds, reads = set(), set()
    for part in _codes(code):
        for step in dis.get_instructions(part):
            if step.opname in ("STORE_NAME", "STORE_GLOBAL"):
                binds.add(step.argval)
            elif step.opname in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"):
                reads.add(step.argval)
    return Statement(cell, node, code, binds, reads, _changed(node), marked)


def _codes(code: types.CodeType):
    left = [code]
    while left:
        part = left.pop()
        yield part
        left += [const for const in part.co_consts if isinstance(const, types.CodeType)]


def _changed(node: ast.stmt) -> set[str]:
    """Names of objects that a statement may change: `x[0] = ...`, `x.a = ...`, `x.append(...)`."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return set()
    found = set()
    for part in ast.walk(node):
        stored = isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Store)
        method = isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)
        target = part if stored else part.func if method else None
        while isinstance(target, (ast.Subscript, ast.Attribute)):
            target = target.value
        if isinstance(target, ast.Name):
            found.add(target.id)
    return found


def _defines(statement: Statement, name: str) -> bool:
    return name in statement.binds


def _blank(node: ast.stmt) -> bool:
    """Whether a function is still the one that was handed out: it does nothing but say so."""
    if not isinstance(node, ast.FunctionDef):
        return False
    body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    if not body or all(isinstance(n, ast.Pass) for n in body):
        return True
    return isinstance(body[0], ast.Raise) and "NotImplementedError" in ast.dump(body[0])


def choose(notebook: Notebook, names: list[str], given: Notebook, run_all: bool = False) -> Found:
    """Choose the statements that make the answers of these names, and those that these need.

    `given` are the assignment's own set-up cells. The last answer that is not blank counts, as it would in
    the notebook's own order; a function of another name in a cell that is marked for it is taken for it.
    """
    notes, missing, alias, chosen = [], {}, {}, {}
    for name in names:
        options = [s for s in notebook.statements if _defines(s, name)]
        full = [s for s in options if not _blank(s.node)]
        # A function counts, and not what was made with it later under its own name, as in f = f(picture).
        full = [s for s in full if isinstance(s.node, ast.FunctionDef)] or full
        marked = [s for s in notebook.statements if name in s.marked and isinstance(s.node, ast.FunctionDef)]
        others = [s for s in marked if s.node.name not in names and not _blank(s.node)]
        broken = [b for b in notebook.broken if name in b["names"]]
        if full:
            chosen[name] = full[-1]
            if len(full) > 1:
                cells = ", ".join(str(s.cell) for s in full)
                notes.append(
                    f"{name} is defined {len(full)} times, in the cells {cells}: the last one counts"
                )
            if not any(name in s.marked for s in full):
                notes.append(f"the line '# Answer: {name}' is gone; the function was found by its name")
        elif len({s.node.name for s in others}) == 1:
            chosen[name], alias[name] = others[-1], others[-1].node.name
            notes.append(f"{name} was found under the name {alias[name]}, in the cell marked for it")
        elif broken:
            b = broken[-1]
            missing[name] = f"cell {b['cell']} is not Python, at its line {b['line']}: {b['what']}"
        elif options:
            missing[name] = "it is as it was handed out, without an answer"
        elif name in notebook.marks:
            missing[name] = "its cell is there, and defines no function of this name"
        else:
            missing[name] = "no cell defines it: it was deleted, or has another name"
        if name in chosen and broken:
            b = broken[-1]
            notes.append(f"cell {b['cell']}, also for {name}, is not Python, at its line {b['line']}")
    every = [*given.statements, *notebook.statements]
    dropped = {id(s) for s in every for name in s.binds & set(names) if s is not chosen.get(name)}
    gone = set(missing)  # what needs an answer that isn't there, as a check or a plot does, would only stop
    every = [s for s in every if id(s) not in dropped and s.code is not None and not s.reads & gone]
    run = every if run_all else _needed(every, chosen)
    return Found(run, notes, missing, alias)


def _needed(every: list[Statement], chosen: dict[str, Statement]) -> list[Statement]:
    """The chosen statements, and all that make or change a name that one of them needs."""
    wanted = {id(s) for s in chosen.values()}
    names = set().union(*(s.reads for s in chosen.values()))
    objects = {
        n for s in every if isinstance(s.node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) for n in s.binds
    }
    while True:
        more = [s for s in every if id(s) not in wanted and (s.binds & names or s.changes & names & objects)]
        if not more:
            return [s for s in every if id(s) in wanted]
        wanted |= {id(s) for s in more}
        names |= set().union(*(s.reads for s in more))


class _Silent:
    """Stands for what a notebook has and a grader has not: it takes anything and does nothing."""

    def __call__(self, *arguments, **options):
        return self

    def __getattr__(self, name):
        return self


def execute(found: Found, names: dict) -> list[str]:
    """Run the statements into a dict of names, and say what stopped some of them.

    One that stops is left out, and the others go on. One that a missing name stopped is tried again after the
    others, for cells may have been moved.
    """
    names.setdefault("__name__", "__main__")
    names["get_ipython"] = names["display"] = _Silent()
    left, said = found.run, []
    for _ in range(ROUNDS):
        again, said = [], []
        for statement in left:
            try:
                exec(statement.code, names)
            except NameError as error:
                again.append(statement)
                said.append(_told(statement, error))
            except Exception as error:
                said.append(_told(statement, error))
            except SystemExit:
                said.append(f"cell {statement.cell} asked to end the program")
        if not again or len(again) == len(left):
            break
        left = again
    for name, other in found.alias.items():
        if other in names:
            names[name] = names[other]
    return said


def _told(statement: Statement, error: BaseException) -> str:
    text = str(error).strip().split("\n")[0][:150]
    line = getattr(statement.node, "lineno", 0)
    return f"cell {statement.cell}, line {line}, stopped with {type(error).__name__}: {text}"
