"""``python -m colorlib`` is the command ``colorlib``."""

from colorlib.cli import app

app(prog_name="colorlib")
