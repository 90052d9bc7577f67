"""What pytest does for the tests and the chapters."""

import os
import re

import pytest

# Networks this small gain nothing from more threads, and lose much where the cores are shared, as by pytest's
# workers. It has to be said before torch is imported, and holds for what the tests start, kernels too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["COLORLIB_STATIC"] = "1"  # the chapters' outputs become the book's

collect_ignore_glob = ["*/conftest.py"]  # there are no doctests in these, and two modules of one name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a chapter's cell that ended in a usage error, as a mistyped magic does: nbval lets it pass.

    IPython reports such an error on the error stream alone, without the message that ends a cell.
    """
    result = yield
    for output in getattr(item, "test_outputs", None) or []:
        if output.get("name") == "stderr" and (usage := re.search(r"(?m)^UsageError: .*", output["text"])):
            pytest.fail(usage[0])
    return result
