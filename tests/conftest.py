"""What all tests share."""

import torch

# These tests are about what a GPU computes. Without one they are not collected, rather than skipped.
collect_ignore = [] if torch.cuda.is_available() else ["test_gpu.py"]


def pytest_collection_modifyitems(items):
    """Begin with the chapters, which take longest, and end with the book: it is built from their outputs."""
    items.sort(key=lambda item: (item.path.name == "test_book.py", item.path.suffix != ".ipynb"))
