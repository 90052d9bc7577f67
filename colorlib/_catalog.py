"""What the models' own files say of them, read without running them.

Importing the models takes seconds, as torch does; whoever asks the command line what there is should not wait
for it. So this reads the source: the classes that state a ``command``, their recipes' names, and the knobs
of their ``chroma`` that have a text of help. The registry :data:`colorlib.models.MODELS` says the same, which
a test holds it to.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FILES = Path(__file__).parent / "models"
WEIGHTS = Path(__file__).parent / "weights"


class Option(NamedTuple):
    """A knob as an option of the command line."""

    name: str
    kind: str  # of its type, as "float"
    default: Any
    help: str


class Entry(NamedTuple):
    """A model: its name on the command line, what it is in a line, its recipes' names and its options."""

    command: str
    summary: str
    recipes: list[str]
    options: list[Option]


@cache
def models() -> dict[str, Entry]:
    """Give the models of the library by their names on the command line, in the order of their files."""
    entries = {}
    for path in sorted(FILES.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "    command" not in text:
            continue  # parsing takes most of the time
        for node in ast.parse(text).body:
            stated = _stated(node) if isinstance(node, ast.ClassDef) else {}
            if "command" in stated and (command := ast.literal_eval(stated["command"])):
                summary = (ast.get_docstring(node) or "").partition("\n")[0]
                recipes = [ast.literal_eval(key) for key in stated["recipes"].keys]
                entries[command] = Entry(command, summary, recipes, _options(node))
    return entries


def weights(folder: Path = WEIGHTS) -> list[Path]:
    """Give the files of trained weights in a folder, sorted by name; of the library where none is named."""
    return sorted(folder.glob("*.safetensors"))


def find(name_or_path: str | Path, folder: Path = WEIGHTS) -> Path:
    """Give the file of trained weights of a name, or the path itself; neither raises FileNotFoundError."""
    path = Path(name_or_path)
    shipped = {found.stem: found for found in weights(folder)}
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    if not path.exists():
        raise FileNotFoundError(
            f"no model {str(name_or_path)!r}: neither a path nor one that comes with the library: "
            + (", ".join(shipped) or "there are none")
        )
    return path


def _stated(node: ast.ClassDef) -> dict[str, ast.expr]:
    """The values that a class's body gives to names."""
    stated = {}
    for line in node.body:
        if isinstance(line, ast.AnnAssign):
            stated[ast.unparse(line.target)] = line.value
        for target in line.targets if isinstance(line, ast.Assign) else ():
            many = isinstance(target, ast.Tuple)  # a, b = 1, 2
            pairs = zip(target.elts, line.value.elts, strict=True) if many else [(target, line.value)]
            stated |= {ast.unparse(name): value for name, value in pairs}
    return stated


def _options(node: ast.ClassDef) -> list[Option]:
    """The keyword-only arguments of a class's ``chroma`` that say in words what they do."""
    options = []
    for method in node.body:
        if not isinstance(method, ast.FunctionDef) or method.name != "chroma":
            continue
        for argument, default in zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True):
            hint = argument.annotation
            if isinstance(hint, ast.Subscript) and ast.unparse(hint.value) == "Annotated":
                kind, text, *_ = hint.slice.elts
                kind = ast.unparse(kind).partition(" ")[0]  # of "float | None"
                options.append(Option(argument.arg, kind, ast.literal_eval(default), ast.literal_eval(text)))
    return options
