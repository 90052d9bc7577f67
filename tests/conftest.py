"""What all tests share."""

import torch

# These tests are about what a GPU computes. Without one they are not collected, rather than skipped.
collect_ignore = [] if torch.cuda.is_available() else ["test_gpu.py"]
