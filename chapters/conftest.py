"""Keep what a chapter's tests compute: the book is built from it, so that a chapter runs once for both."""

import importlib.util
import time
from pathlib import Path

import pytest
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbval.plugin import IPyNbCell

ROOT = Path(__file__).resolve().parent.parent
PASSED = pytest.StashKey[list]()  # a notebook's cells that passed, in their order
BEGAN = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """When the last cell of a notebook has passed, as all before it, give its outputs to the build."""
    report = yield
    if isinstance(item, IPyNbCell) and call.when == "call" and report.passed:
        notebook = item.parent
        notebook.stash.setdefault(BEGAN, call.start)
        passed = notebook.stash.setdefault(PASSED, [])
        passed.append(item)
        if len(passed) == sum(cell.cell_type == "code" for cell in notebook.nb.cells):
            keep(notebook.nb, notebook.path, passed, time.time() - notebook.stash[BEGAN])
    return report


def keep(notebook, path: Path, cells: list, seconds: float) -> None:
    """Write an executed notebook into the cache of the book's build."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "book" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    for count, item in enumerate(cells, 1):
        item.cell.outputs, item.cell.execution_count = item.test_outputs, count
    bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
    build.BUILD.mkdir(exist_ok=True)
    with FileLock(build.BUILD / ".lock"):  # other workers have their chapters
        build.forget_outdated()
        get_cache(build.BUILD / ".jupyter_cache").cache_notebook_bundle(bundle, overwrite=True)
