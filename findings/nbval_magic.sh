#!/usr/bin/env bash
# One would guess: a notebook's cell that ends in an error fails the test run of nbval.
# What happens: a line that starts with a magic that does not exist ends the cell there, with a message on stderr in
# place of an exception. nbval --nbval-lax counts the cell as passed, and none of the assertions below have run.
# Who meets it: notebooks with a misspelled magic, or with one of another place, such as Colab's
# %tensorflow_version: green tests that test nothing. (A magic that exists and fails is reported well.)
# Seen with nbval 0.11.0, ipykernel 7.4.0, IPython 9.18.1.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check nbval==0.11.0 pytest==9.2.0 ipykernel==7.4.0 ipython==9.18.1
cat > make.py <<'EOF'
import json

for name, first in (("plain", "x = 1"), ("magic", "%no_such_magic here")):
    cell = {"cell_type": "code", "id": "a", "execution_count": None, "metadata": {}, "outputs": []}
    cell["source"] = first + "\nassert False, 'this line has run'"
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": [cell], "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    with open(f"{name}.ipynb", "w") as file:
        json.dump(notebook, file)
EOF
venv/bin/python make.py
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -iE "^(nbval|ipykernel|ipython) "
for name in plain magic; do
    status=0
    venv/bin/python -m pytest -q -p no:cacheprovider --color=no --nbval-lax "$name.ipynb" >"$name.log" 2>&1 || status=$?
    echo "$name.ipynb, whose second line is 'assert False': exit status $status, $(tail -n 1 "$name.log")"
    echo "$status" >"$name.status"
done
[ "$(cat plain.status)" = 1 ] || { echo "the plain assertion did not fail: the behavior has changed"; exit 1; }
[ "$(cat magic.status)" = 0 ] || { echo "the behavior has changed"; exit 1; }
