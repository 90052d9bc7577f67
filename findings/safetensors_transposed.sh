#!/usr/bin/env bash
# One would guess: what safetensors.numpy writes of an array is what it reads again, or it refuses.
# What happens: of a transposed array (or any in Fortran's order) the numbers come back in another order, of the
# right shape, without an error. The bytes are written as they lie in memory, and read as rows.
# Who meets it: whoever stores weights that were converted by transposing, as from TensorFlow to PyTorch.
# Seen with safetensors 0.8.0 and numpy 2.4.6; 0.7.0 is said to be well (its issue 825). Till it changes:
# numpy.ascontiguousarray before saving.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
venv/bin/python - <<'EOF'
import numpy as np
import safetensors
from safetensors.numpy import load, save

weights = np.arange(6, dtype=np.float32).reshape(2, 3).T
back = load(save({"weights": weights}))["weights"]
print("safetensors", safetensors.__version__, "numpy", np.__version__)
print("saved: ", weights.tolist())
print("loaded:", back.tolist())
assert back.shape == weights.shape and not np.array_equal(back, weights), "the behavior has changed"
assert np.array_equal(load(save({"weights": np.ascontiguousarray(weights)}))["weights"], weights)
EOF
