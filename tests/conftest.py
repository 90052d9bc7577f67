"""What all tests share."""

import os
import shutil

import pytest
import torch

# These tests are about what a GPU computes. Without one they are not collected, rather than skipped.
collect_ignore = [] if torch.cuda.is_available() else ["test_gpu.py"]


def pytest_collection_modifyitems(items):
    """Begin with the chapters, which take longest, and end with the book: it is built from their outputs."""
    items.sort(key=lambda item: (item.path.name == "test_book.py", item.path.suffix != ".ipynb"))


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium. Without one, the tests that need it are skipped, but never in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no chromium: install Debian's package chromium")
        pytest.skip(
            "no chromium on this machine: install Debian's package chromium to test the pages in a browser"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()
