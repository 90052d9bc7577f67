"""What a source claims beside what was measured."""

import html
import re

import numpy as np
import torch

from colorlib._check import came, flag, string

from ._static import HTMLFigure

_VERDICTS = {True: "held", False: "did not hold", "in part": "held in part"}
_ANSWERS = {True: "yes", False: "no", "in part": "in part"}


def claim(
    identifier: str, source: str, claimed: str, ours: str, held: bool | str | list, question: bool = False
) -> None:
    """Show what a source claims beside what this chapter measured, and hand both to the ledger of claims.

    The texts are also stored with the executed notebook under the names ``ID-source``, ``ID-claim``,
    ``ID-ours`` and ``ID-held``. The ledger page reads them there, so none of its numbers is typed by hand.
    The identifier is that of the ledger, S, digits, point, digits, for instance ``"S0.3"``; `ours` tells the
    numbers measured here in a sentence, as `claimed` tells the claim. `held` is True, False, ``"in part"`` or
    a list of checks, of which all, none or some held; computed from the numbers, never a constant. A source's
    open ``question`` can't hold or fail: it is answered by yes, no or in part.
    """
    from IPython.display import display

    if not re.fullmatch(r"S\d+\.\d+", string(identifier, "identifier")):
        raise ValueError(f"identifier must look like S0.3; got {identifier!r}")
    source, claimed, ours = string(source, "source"), string(claimed, "claimed"), string(ours, "ours")
    if isinstance(held, list) and held:
        checks = [bool(check) for check in held]
        held = "in part" if any(checks) and not all(checks) else all(checks)
    if isinstance(held, np.bool_) or (isinstance(held, torch.Tensor) and held.dtype == torch.bool):
        held = bool(held.all())
    if not isinstance(held, (bool, str)) or held not in _VERDICTS:
        raise ValueError(f"held must be True, False, 'in part' or a list; got {came(held)}")
    verdict = (_ANSWERS if flag(question, "question") else _VERDICTS)[held]
    kind, end = ("Question", "Answer") if question else ("Claim", "Verdict")
    rows = [("Source", source), (kind, claimed), ("Measured here", ours), (end, verdict)]
    body = "".join(
        f'<tr><th scope="row" style="text-align:left;vertical-align:top;white-space:nowrap">{name}</th>'
        f'<td style="text-align:left">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    markup = (
        f'<div id="claim-{identifier}" class="colorlib-claim"><table style="margin:0.5em 0">'
        f'<caption style="caption-side:top;text-align:left"><strong>Claim {identifier}</strong></caption>'
        f"{body}</table></div>"
    )
    told = f"claim {identifier} ({source}): {claimed} Measured here: {ours} {end}: {verdict}."
    display(HTMLFigure(markup, told))
    # The metadata is the form in which MyST-NB's `glue` stores values; its prefix keeps them off the page.
    prefix = "application/papermill.record/"
    for part, text in [("source", source), ("claim", claimed), ("ours", ours), ("held", verdict)]:
        scrap = {"name": f"{identifier}-{part}", "mime_prefix": prefix}
        display({prefix + "text/plain": repr(text)}, raw=True, metadata={"scrapbook": scrap})
