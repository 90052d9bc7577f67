"""The project's own files agree with each other: dependencies, links, notebooks, the import contract."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))

# What Colab's runtime carried in August 2026, from its own published list.
COLAB = {
    "python": "3.12", "torch": "2.11", "torchvision": "0.26", "numpy": "2.1.3", "scipy": "1.16",
    "scikit-image": "0.25.2",
    "matplotlib": "3.10.0", "pillow": "11.3", "ipywidgets": "7.7.1", "ipython": "7.34",
    "ipykernel": "6.17",
    "accelerate": "1.14", "safetensors": "0.8", "pooch": "1.9", "typer": "0.27", "tqdm": "4.67",
}  # fmt: skip
# Packages that conda knows by another name, and those that it does not carry.
CONDA_NAMES = {"torch": "pytorch"}


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements(*groups):
    lines = list(PYPROJECT["project"]["dependencies"])
    for group in groups:
        lines += PYPROJECT["project"]["optional-dependencies"][group]
    return [Requirement(line) for line in lines]


def test_colab_carries_all_that_the_library_needs():
    for requirement in requirements():
        assert requirement.name in COLAB, f"{requirement.name} would be downloaded on Colab"
        assert requirement.specifier.contains(COLAB[requirement.name]), (
            f"{requirement} would replace Colab's {COLAB[requirement.name]}"
        )
    assert Version(COLAB["python"]) in PYPROJECT_PYTHON


PYPROJECT_PYTHON = Requirement(f"python{PYPROJECT['project']['requires-python']}").specifier


def test_the_library_is_bounded_from_below_only():
    for requirement in requirements():
        operators = {part.operator for part in requirement.specifier}
        assert operators == {">="}, f"{requirement} needs a lower bound and nothing else"


def test_environment_yml_is_in_step_with_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    assert "-e ." in pip
    conda = {
        Requirement(entry).name: str(Requirement(entry).specifier)
        for entry in listed
        if isinstance(entry, str)
    }
    conda |= {Requirement(entry).name: str(Requirement(entry).specifier) for entry in pip if entry != "-e ."}
    wanted = {CONDA_NAMES.get(r.name, r.name): str(r.specifier) for r in requirements("book", "lab", "test")}
    wanted["python"] = PYPROJECT["project"]["requires-python"]
    assert {name: bound for name, bound in conda.items() if name not in ("make", "pip")} == wanted


def test_the_license_is_stated_as_tools_read_it():
    """An SPDX text, and the file: setuptools knows them from 77 on, and stops taking a table in 2027."""
    project = PYPROJECT["project"]
    (needed,) = map(Requirement, PYPROJECT["build-system"]["requires"])
    assert project["license"] == "MIT" and needed.specifier == ">=77"
    assert all((ROOT / name).is_file() for name in project["license-files"])


@pytest.mark.parametrize("name", ["build/lib/x.py", "colorlib.egg-info/PKG-INFO", "dist/x.whl", "runs/x"])
def test_what_tools_make_is_not_committed(name):
    assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT).returncode == 0


def workflows():
    paths = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}


@pytest.mark.parametrize("name", workflows())
def test_a_workflow_has_no_right_that_it_does_not_need(name):
    workflow = workflows()[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if "permissions" in job:  # such a job runs nothing but actions: no step of it builds or installs
            assert all("uses" in step and "run" not in step for step in job["steps"])
            assert not any("checkout" in step["uses"] for step in job["steps"])
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    for used in re.findall(r"uses: (.*)", text):  # a tag can be moved, a commit can't
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_badges_show_workflows_that_are_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"actions/workflows/([\w.]+)", readme))
    assert shown and shown <= set(workflows())


def test_every_link_to_the_repository_names_its_home():
    links = load_script("links")
    wrong = {
        str(path.relative_to(ROOT)): links.slugs(path.read_text(encoding="utf-8")) - {links.home()}
        for path in links.files()
    }
    wrong = {path: slugs for path, slugs in wrong.items() if slugs}
    assert not wrong, f"run `make links`: {wrong}"


def test_make_links_rewrites_every_kind_of_link_and_no_other():
    links = load_script("links")
    old, new = ("ada", "gray"), ("grace", "color")
    text = """[Colab](https://colab.research.google.com/github/ada/gray/blob/main/a.ipynb)
    https://mybinder.org/v2/gh/ada/gray/main?urlpath=lab
    pip install git+https://github.com/ada/gray
    git clone https://github.com/ada/gray
    https://github.com/ada/gray/issues and https://ada.github.io/gray/
    https://github.com/openai/pixel-cnn, https://github.com/ada/gray-other, nada/gray"""
    assert links.slugs(text) == {old}
    moved = links.relink(text, {old}, new)
    assert links.slugs(moved) == {new}
    assert moved.count("grace/color") == 5 and "https://grace.github.io/color/" in moved
    assert "openai/pixel-cnn" in moved and "ada/gray-other" in moved and "nada/gray" in moved


def test_the_import_contract_holds():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_style():
    ruff = Path(sys.executable).with_name("ruff")
    for arguments in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run([ruff, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def as_python(source):
    """A cell's text with its magics and shell commands as the calls that IPython makes of them."""
    return TransformerManager().transform_cell(source)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_stored_notebooks_are_clean(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            # Outputs are stored exactly where nbval compares them; nbval wants such a cell to have been run.
            compared = "nbval-check-output" in cell["metadata"].get("tags", [])
            assert bool(cell["outputs"]) == compared, source
            assert cell["execution_count"] == (1 if compared else None), source
            assert "image/png" not in json.dumps(cell["outputs"])
            assert "raises-exception" not in cell["metadata"].get("tags", [])
            assert "NBVAL_SKIP" not in source
            # Where a shell command fails, its cell goes on.
            assert not re.search(r"get_ipython\(\)\.(system|getoutput)\(", as_python(source)), source


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_have_the_form_of_the_course(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    opening = texts[0]
    for needed in (
        "colab.research.google.com",
        "mybinder.org",
        path.name,
        "you can**",
        "**Time:**",
        "**Needs:**",
    ):
        assert needed in opening, f"the opening of {path.name} lacks {needed!r}"
    everything = "\n".join(texts)
    for needed in ("show.frames(", "show.claim(", "{exercise}", "## Summary", "assert "):
        assert needed in everything, f"{path.name} lacks {needed!r}"
    solutions = [cell for cell in cells if "".join(cell["source"]).startswith("# Solution")]
    assert len(solutions) == everything.count("{exercise}")
    assert all("hide-cell" in cell["metadata"]["tags"] for cell in solutions)


def lost_figures(code):
    """What `show` makes in a cell and the page never shows: a notebook shows a cell's last value alone."""
    shown = {"figure", "grid", "frames", "choices"}
    return [
        node.lineno
        for statement in ast.parse(code).body[:-1]
        for node in ast.walk(statement)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) in {f"show.{name}" for name in shown}
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_every_figure_that_a_cell_makes_is_shown(path):
    assert lost_figures("show.figure(fig)\nprint(1)") == [1] and not lost_figures("x = 1\nshow.grid(x)")
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not lost_figures(as_python("".join(cell["source"]))), cell["id"]


@pytest.mark.slow
def test_a_cell_that_a_magic_stopped_fails(tmp_path):
    """The kernel reports it in another way than an exception."""
    cells = ["print(1)\n%nosuchmagic\n", "%%nosuchmagic\n1", "%timeit -z 1", "%env NOSUCH", "1 / 0", "%pwd"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--nbval-lax", "--rootdir", ".", "a.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "5 failed, 1 passed" in done.stdout and "`%nosuchmagic` not found" in done.stdout, done.stdout


def test_claims_measured_in_chapters_are_in_the_ledger_once():
    ledger = (ROOT / "book" / "claims.md").read_text(encoding="utf-8")
    identifiers = re.findall(r"(?m)^\| (S\d+\.\d+) \|", ledger)
    assert len(identifiers) == len(set(identifiers)), "a claim stands twice in the ledger"
    measured = {}
    for path in CHAPTERS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for identifier in re.findall(r'show\.claim\(\s*"(S[\d.]+)"', "".join(cell["source"])):
                assert identifier not in measured, f"{identifier} is measured twice"
                measured[identifier] = path.stem
    for identifier, chapter in measured.items():
        row = next(line for line in ledger.splitlines() if line.startswith(f"| {identifier} |"))
        for part in ("claim", "source", "ours", "held"):
            assert f"{{glue:text}}`../chapters/{chapter}.ipynb::{identifier}-{part}:s`" in row
        assert f"../chapters/{chapter}.html#claim-{identifier}" in row
    glued = {identifier for identifier in identifiers if f"::{identifier}-ours" in ledger}
    assert glued == set(measured)
