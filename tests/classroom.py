"""A class of notebooks for the tests of grading: right, mangled, and harmless forms of hostile ones."""

import copy
import json
from pathlib import Path

from colorlib.grading import source

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "chapters" / "assignments").glob("*.ipynb"))


def version(name, kind):
    """A version of an assignment, as a dict."""
    path = ROOT / "chapters" / "assignments" / f"{name}.ipynb"
    return source.VERSIONS[kind](source.read_notebook(path))


def answer_at(notebook, name):
    """The place of the cell that is marked for an answer."""
    marked = [f"# Answer: {name}." in source.text(cell) for cell in notebook["cells"]]
    return marked.index(True)


def answered(notebook, name, code):
    """The notebook with another answer in the cell for it."""
    made = copy.deepcopy(notebook)
    made["cells"][answer_at(made, name)]["source"] = (
        f"# Answer: {name}. Leave this line where it is.\n{code.strip()}"
    )
    return made


def code(text, **metadata):
    return {"cell_type": "code", "metadata": metadata, "source": text, "outputs": [], "execution_count": None}


def _edit(change):
    """A mangled notebook: the solution after a change that is made in place."""

    def make():
        notebook = version("spaces", "solution")
        return change(notebook) or notebook

    return make


def _cell(notebook, name):
    return notebook["cells"][answer_at(notebook, name)]


def _delete(notebook, name):
    del notebook["cells"][answer_at(notebook, name)]


def _replace(notebook, name, old, new):
    cell = _cell(notebook, name)
    cell["source"] = source.text(cell).replace(old, new)


def _reverse(notebook):
    notebook["cells"].reverse()


def _unmark(notebook):
    for cell in notebook["cells"]:
        lines = source.text(cell).split("\n")
        cell["source"] = "\n".join(line for line in lines if not line.startswith("# Answer"))


def _double(notebook, name, text=None, first=False):
    at = answer_at(notebook, name)
    twin = copy.deepcopy(notebook["cells"][at])
    twin["source"] = text or source.text(twin)
    notebook["cells"].insert(at if first else len(notebook["cells"]), twin)


def _blank(name):
    return source.text(_cell(version("spaces", "student"), name))


def _metadata(**metadata):
    return _edit(lambda n: n["metadata"].update(metadata))


def _outputs(notebook):
    picture = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0KGgo" * 500_000}}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [
                picture,
                {"output_type": "stream", "name": "stdout", "text": ["x" * 100_000] * 5},
            ]


def _version_3(notebook):
    cells = []
    for cell in notebook["cells"]:
        changed = {k: v for k, v in cell.items() if k != "source"}
        cells.append({**changed, "input": cell["source"]} if cell["cell_type"] == "code" else cell)
    return {"metadata": {}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}


def _merge(notebook):
    texts = [source.text(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    texts = [text for text in texts if "%pip" not in text]
    notebook["cells"] = [code("\n\n".join(texts))]


def _helper_below(notebook):
    _replace(notebook, "colorfulness", "255 * rgb", "scaled(rgb)")
    notebook["cells"].append(code("FULL = top()\n\ndef scaled(rgb):\n    return FULL * rgb"))
    notebook["cells"].append(code("def top():\n    return 255"))


def _split(notebook):
    cell = _cell(notebook, "scale_chroma")
    cell["source"] = source.text(cell).replace("color.rgb_to_lab", "to_lab")
    notebook["cells"].insert(3, code("from colorlib.color import rgb_to_lab as to_lab"))


ALL, FIRST, SECOND, THIRD = 10, 3, 3, 4
# What was done to the notebook with the solutions: how, the points that are left, words of what is said.
MANGLED = {
    "as it is": (_edit(lambda n: None), ALL, ""),
    "set-up deleted": (_edit(lambda n: n["cells"].pop(2) and None), ALL, ""),
    "all but the answers deleted": (
        _edit(lambda n: n.update(cells=[c for c in n["cells"] if "# Answer" in source.text(c)])),
        ALL,
        "",
    ),
    "an answer deleted": (_edit(lambda n: _delete(n, "scale_chroma")), ALL - SECOND, "no cell defines it"),
    "all answers deleted": (
        _edit(lambda n: [_delete(n, q) for q in ("rgb_to_ycbcr", "scale_chroma", "colorfulness")] and None),
        0,
        "no cell defines it",
    ),
    "an answer doubled": (_edit(lambda n: _double(n, "rgb_to_ycbcr")), ALL, "2 times"),
    "a blank one below the answer": (
        _edit(lambda n: _double(n, "rgb_to_ycbcr", _blank("rgb_to_ycbcr"))),
        ALL,
        "",
    ),
    "a wrong one above the answer": (
        _edit(lambda n: _double(n, "rgb_to_ycbcr", "def rgb_to_ycbcr(rgb):\n    return rgb", first=True)),
        ALL,
        "the last one counts",
    ),
    "a wrong one below the answer": (
        _edit(lambda n: _double(n, "rgb_to_ycbcr", "def rgb_to_ycbcr(rgb):\n    return rgb")),
        ALL - FIRST,
        "the last one counts",
    ),
    "cells in reverse": (_edit(_reverse), ALL, ""),
    "all in one cell": (_edit(_merge), ALL, ""),
    "markers gone": (_edit(_unmark), ALL, "found by its name"),
    "a function renamed": (
        _edit(lambda n: _replace(n, "colorfulness", "def colorfulness", "def vivid")),
        ALL,
        "under the name vivid",
    ),
    "renamed, and no marker": (
        _edit(lambda n: (_replace(n, "colorfulness", "def colorfulness", "def vivid"), _unmark(n)) and None),
        ALL - THIRD,
        "no cell defines it",
    ),
    "a syntax error in an answer": (
        _edit(lambda n: _replace(n, "rgb_to_ycbcr", "return torch", "retrun torch")),
        ALL - FIRST,
        "not Python, at its line 6",
    ),
    "an indentation lost": (
        _edit(lambda n: _replace(n, "rgb_to_ycbcr", "    red,", "  red,")),
        ALL - FIRST,
        "not Python",
    ),
    "a syntax error in another cell": (
        _edit(lambda n: n["cells"].append(code("for for for"))),
        ALL,
        "not Python",
    ),
    "a conflict of versions in a cell": (
        _edit(lambda n: n["cells"].append(code("<<<<<<< mine\n1\n=======\n2"))),
        ALL,
        "not Python",
    ),
    "a helper that stands below": (_edit(_helper_below), ALL, ""),
    "an import of its own": (_edit(_split), ALL, ""),
    "a package that is not there": (
        _edit(lambda n: n["cells"].insert(1, code("import nosuchpackage"))),
        ALL,
        "",
    ),
    "a package that an answer needs": (
        _edit(
            lambda n: (
                (
                    n["cells"].insert(1, code("import nosuchpackage as np")),
                    _replace(n, "colorfulness", "255 * rgb", "np.pi * rgb"),
                )
                and None
            )
        ),
        ALL - THIRD,
        "nosuchpackage",
    ),
    "magics": (
        _edit(
            lambda n: (
                (
                    _replace(n, "scale_chroma", "# Answer", "%matplotlib inline\n!ls\n# Answer"),
                    n["cells"].append(code("%%bash\nrm -rf x")),
                    n["cells"].append(code("%%time\n1")),
                )
                and None
            )
        ),
        ALL,
        "",
    ),
    "a cell that is timed": (
        _edit(lambda n: _replace(n, "scale_chroma", "# Answer", "%%time\n# Answer")),
        ALL,
        "",
    ),
    "the metadata of another kernel": (
        _metadata(kernelspec={"name": "ir", "language": "R"}, language_info={"name": "R"}),
        ALL,
        "",
    ),
    "Colab's metadata and widgets": (
        _metadata(
            colab={"provenance": [], "gpuType": "T4"},
            accelerator="GPU",
            widgets={"application/vnd.jupyter.widget-state+json": {"8a": {"model_name": "HBoxModel"}}},
        ),
        ALL,
        "",
    ),
    "no metadata at all": (
        _edit(lambda n: [n.pop("metadata"), *(c.pop("metadata") for c in n["cells"])] and None),
        ALL,
        "",
    ),
    "outputs of 50 MB": (_edit(_outputs), ALL, ""),
    "the format of 2013": (_edit(_version_3), ALL, ""),
    "a slow cell that no answer needs": (
        _edit(lambda n: n["cells"].append(code("import time\nwhile True: time.sleep(1)"))),
        ALL,
        "",
    ),
    "the name of an answer used again": (
        _edit(lambda n: n["cells"].append(code("colorfulness = colorfulness(coffee)"))),
        ALL,
        "",
    ),
    "a cell that ends the program": (_edit(lambda n: n["cells"].append(code("raise SystemExit"))), ALL, ""),
    "no answers yet": (lambda: version("spaces", "student"), 0, "as it was handed out"),
    "another assignment": (lambda: version("som", "solution"), 0, "no cell defines it"),
}
# Files that are no notebooks: their bytes, and words of what is said.
BROKEN = {
    "cut off": (json.dumps(version("spaces", "solution")).encode()[:3000], "cut off"),
    "empty": (b"", "not a notebook"),
    "an archive": (b"PK\x03\x04" + bytes(1000), "not a notebook"),
    "a web page": (b"<html>Please log in</html>", "not a notebook"),
    "a list": (b"[1, 2]", "no cells"),
    "nested": (b"[" * 100_000, "not a notebook"),
    "no code": (json.dumps({"cells": [{"cell_type": "markdown", "source": "hi"}]}).encode(), "no code cells"),
    "odd cells": (
        json.dumps({"cells": [3, None, {"cell_type": "code", "source": {"a": 1}}]}).encode(),
        "no code",
    ),
}


def _first(body):
    """A notebook whose first answer does something before it gives the right value."""
    lines = "\n".join(f"    {line}" for line in body.strip().split("\n"))
    right = "    y = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]\n"
    right += "    return torch.stack([y, (rgb[2] - y) / 1.772 + 0.5, (rgb[0] - y) / 1.402 + 0.5])"
    return f"import torch\ndef rgb_to_ycbcr(rgb):\n{lines}\n{right}"


# Harmless hostile first answers: the code, the points left, words of what is said. {home} is the
# folder of the submissions, {tests} the file with the hidden tests, {port} one where somebody listens.
HOSTILE = {
    "loops for ever": (_first("while True: pass"), 7, "longer than it may"),
    "sleeps for ever": (_first("import time; time.sleep(10_000)"), 7, "longer than it may"),
    "loops as its cells run": (
        "def start():\n    while True: pass\nX = start()\n" + _first("X"),
        0,
        "while the cells ran, it took longer",
    ),
    "takes much memory at once": (_first("torch.ones(2**30)"), 7, "stopped with"),
    "takes memory bit by bit": (
        _first("import torch; a = []\nwhile len(a) < 500: a.append(torch.ones(2**20))"),
        None,  # how much is lost depends on whether it is refused memory first or ended for it
        "memory",
    ),
    "starts processes": (
        _first("import os, time\nfor k in range(60):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(60)"),
        7,
        "more processes",
    ),
    "leaves a process behind": (
        _first(
            "import os, time, pathlib\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
            "        while True:\n            time.sleep(0.05)\n            pathlib.Path('alive').touch()\n"
            "    os._exit(0)"
        ),
        10,
        "",
    ),
    "deletes files": (
        _first("import shutil, os\nshutil.rmtree('.', ignore_errors=True)\nos.remove('{home}/bait.txt')"),
        7,
        "PermissionError",
    ),
    "writes into the grades": (
        _first("open('{home}/grades.csv', 'w').write('me,100')"),
        7,
        "PermissionError",
    ),
    "reads the tests": (_first("open('{tests}').read()"), 7, "PermissionError"),
    "reads the others' answers": (
        _first("import glob\nopen('{home}/a right one.ipynb').read()"),
        7,
        "Permission",
    ),
    "uses the network": (
        _first("import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)"),
        7,
        "OSError",
    ),
    "ends its program": (_first("import os; os._exit(0)"), 7, "its program ended"),
    "asks to exit": (_first("raise SystemExit(0)"), 7, "SystemExit"),
    "crashes": (_first("import ctypes; ctypes.string_at(0)"), 7, "its program ended by the signal"),
    "could end the grader": (
        _first(
            "import os\ntry:\n    os.kill({grader}, 0)  # 0 ends nothing, and asks for leave\n"
            "    return rgb\nexcept OSError: pass"
        ),
        10,
        "",
    ),
    "recurses": ("def rgb_to_ycbcr(rgb):\n    return rgb_to_ycbcr(rgb)", 7, "RecursionError"),
    "writes a large file": (
        _first("f = open('big', 'wb')\nfor k in range(100): f.write(bytes(2**20))"),
        7,
        "OSError",
    ),
    "writes many files": (_first("for k in range(20_000): open(str(k), 'w')"), 7, "than it may"),
    "gives too much": (
        "import torch\ndef rgb_to_ycbcr(rgb):\n    return torch.zeros(1).expand(2**28)",
        7,
        "too large",
    ),
    "claims to equal everything": (
        "class Yes:\n    def __eq__(self, other): return True\n"
        "    def __getattr__(self, name): return lambda *a, **k: self\n"
        "def rgb_to_ycbcr(rgb):\n    return Yes()",
        7,
        "can't be handed over",
    ),
    "an array that claims so": (
        "import torch\nclass Yes(torch.Tensor):\n    @classmethod\n"
        "    def __torch_function__(cls, f, t, a=(), k=None): return True\n"
        "def rgb_to_ycbcr(rgb):\n    return Yes(rgb)",
        7,
        "not the one wanted",
    ),
    "replaces the grader's functions": (
        "import torch, json\n"
        "from colorlib.check import values, engine\nfrom colorlib.grading import submission, wire\n"
        "def yes(*a, **k): return True\n"
        "def rgb_to_ycbcr(rgb):\n    for m in (values, engine, submission):\n"
        "        for n in ('close', 'plain', 'look', 'grade_one', '_test'): setattr(m, n, yes)\n"
        "    torch.allclose = torch.equal = torch.Tensor.__eq__ = yes\n    return rgb",
        7,
        "not the one wanted",
    ),
    "writes a forged result": (
        _first(
            "import json, os\nfor name in ('x.json', 'grades.csv'): open(name, 'w').write('100')\n"
            "print(json.dumps(dict(points=100)))"
        ).replace("0.299", "0.3333"),
        7,
        "not the one wanted",
    ),
    "writes to the grader": (
        _first(
            "import os\nfor fd in range(3, 256):\n    try: os.write(fd, b'100 points' * 9)\n"
            "    except OSError: pass"
        ),
        7,
        "something of its own",
    ),
    "forges a message": (
        _first(
            "import os, struct\nfrom colorlib.grading.wire import pack\n"
            "data = pack(dict(value=True, points=100.0))\n"
            "for fd in range(3, 256):\n    try: os.write(fd, struct.pack('<Q', len(data)) + data)\n"
            "    except OSError: pass"
        ),
        7,
        "something of its own",
    ),
    "calls what is not there": (
        _first(
            "import os, struct\nfrom colorlib.grading.wire import pack\n"
            "data = pack(dict(call=-1, arguments=[]))\n"
            "for fd in range(3, 256):\n    try: os.write(fd, struct.pack('<Q', len(data)) + data)\n"
            "    except OSError: pass"
        ),
        7,
        "something of its own",
    ),
    "looks for tests in memory": (
        _first(
            "import gc\n"
            "found = [o for o in gc.get_objects() if type(o).__name__ in ('Question', 'Test')]\n"
            "found += [1 for o in gc.get_objects() if getattr(o, '__name__', '') == 'test_luma']\n"
            "if not found: return rgb"
        ),
        7,
        "not the one wanted",
    ),
    "looks for the seed": (
        _first("import os\nif 'COLORLIB_GRADING_SEED' not in os.environ: return rgb"),
        7,
        "not the one wanted",
    ),
}
