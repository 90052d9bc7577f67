"""What grading leaves: a table for the learning platform, a page for each student, a summary.

Everything that comes from a submission is text here, and is written as text: escaped in pages, and made
harmless in the table, where a spreadsheet would take it for a formula.
"""

from __future__ import annotations

import csv
import html
import io
from collections import Counter
from pathlib import Path

from colorlib._files import write_whole
from colorlib.grading.sandbox import WALLS
from colorlib.grading.source import Assignment
from colorlib.grading.submission import Result

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222;"
    "background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:1.6rem}table{border-collapse:collapse}"
    "td,th{padding:.25rem .8rem .25rem 0;text-align:left;border-bottom:1px solid "
    "#ccc}p.hint{border-left:.25rem solid #46a;padding-left:.8rem}"
)


def number(x: float) -> str:
    """A number of points, without a point where it is whole."""
    return f"{x:.2f}".rstrip("0").rstrip(".")


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula, on one line."""
    text = " ".join(text.split())
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def table(assignment: Assignment, results: list[Result]) -> str:
    """A line for each submission, as CSV: its name, its points, those of each question, remarks."""
    measures = sorted({name for result in results for name in result.measures})
    ranks = {name: sorted(r.measures[name] for r in results if name in r.measures) for name in measures}
    questions = [question.name for question in assignment.questions]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ranking = [column for name in measures for column in (name, f"rank by {name}")]
    writer.writerow(["submission", "points", "out of", "percent", *questions, *ranking, "remarks"])
    for result in results:
        line = [_cell(result.submission), number(result.points), number(assignment.points)]
        line.append(f"{100 * result.points / assignment.points:.1f}" if assignment.points else "")
        line += [number(result.earned.get(name, 0.0)) for name in questions]
        for name in measures:
            mine = result.measures.get(name)
            line += ["", ""] if mine is None else [f"{mine:.3f}", ranks[name].index(mine) + 1]
        remarks = [result.problem, *result.notes, *sorted({r for r, _ in _reasons(result)})]
        writer.writerow([*line, _cell("; ".join(filter(None, remarks)))])
    return out.getvalue()


def _reasons(result: Result):
    """What stopped questions: the words, and the question."""
    usual = ("passed", "its value is not", "it is as it was handed out", "it is blank", "not tried")
    for question, tests in result.tests.items():
        for said in tests.values():
            if not said.startswith(usual):
                yield f"{question}: {said}", question


def page(assignment: Assignment, result: Result) -> str:
    """The page for a student: points by question, and what is wrong, in the words of the check."""
    escape = html.escape
    rows, hints = "", ""
    for question in assignment.questions:
        earned = result.earned.get(question.name, 0.0)
        rows += (
            f"<tr><td><code>{escape(question.name)}</code></td><td>{number(earned)} of "
            f"{number(question.points)}</td></tr>"
        )
        tests = result.tests.get(question.name, {})
        wrong = [said for said in dict.fromkeys(tests.values()) if said != "passed"]
        if wrong:
            hints += f"<h2><code>{escape(question.name)}</code></h2>"
            hints += "".join(f"<p>{escape(said[0].upper() + said[1:])}.</p>" for said in wrong)
            told = [hint for hint in result.hints.get(question.name, []) if hint not in wrong]
            hints += "".join(f'<p class="hint">{escape(hint)}</p>' for hint in told)
    remarks = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    remarks = f"<h2>Remarks on the notebook</h2><ul>{remarks}</ul>" if remarks else ""
    problem = (
        f"<p><strong>It could not be graded: {escape(result.problem)}.</strong></p>" if result.problem else ""
    )
    measured = "".join(f"<p>{escape(name)}: {value:.2f}</p>" for name, value in result.measures.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(assignment.name)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(assignment.name)}: {number(result.points)} of {number(assignment.points)} points</h1>"
        f"<p>{escape(result.submission)}</p>{problem}<table><tr><th>function</th><th>points</th></tr>{rows}</table>"
        f"{measured}{hints}{remarks}</html>\n"
    )


def summary(assignment: Assignment, results: list[Result], seed: str) -> str:
    """What the instructor wants to know of a class, in Markdown: it compares no student with another."""
    graded = [r for r in results if not r.problem]
    total = sorted(r.points for r in graded)
    lines = [f"# {assignment.name}: {len(results)} submissions", ""]
    if graded:
        middle = (total[(len(total) - 1) // 2] + total[len(total) // 2]) / 2
        numbers = {"least": total[0], "median": middle, "mean": sum(total) / len(total), "most": total[-1]}
        told = ", ".join(f"{name} {number(value)}" for name, value in numbers.items())
        lines += [f"{len(graded)} graded. Of {number(assignment.points)} points: {told}.", ""]
    lines += [
        "## Which question fails most",
        "",
        "| question | test | points | of the class passed |",
        "|---|---|--:|--:|",
    ]
    rows = []
    for question in assignment.questions:
        for test in question.tests:
            passed = sum(r.tests.get(question.name, {}).get(test.name) == "passed" for r in graded)
            share = passed / max(1, len(graded))
            rows.append((share, f"| {question.name} | {test.name} | {number(test.points)} | {share:.0%} |"))
    lines += [row for _, row in sorted(rows, key=lambda row: row[0])]
    for heading, counted in (
        ("## What stopped answers", Counter(what for r in graded for what, _ in _reasons(r))),
        ("## What stood in the way", Counter(f"{r.submission}: {r.problem}" for r in results if r.problem)),
    ):
        if counted:
            lines += ["", heading, ""]
            lines += [
                f"- {_plain(what)}" + (f" ({n} times)" if n > 1 else "")
                for what, n in counted.most_common(40)
            ]
    odd = [(r.submission, note) for r in graded for note in r.notes]
    if odd:
        lines += [
            "",
            "## Remarks on notebooks",
            "",
            *(f"- {_plain(name)}: {_plain(note)}" for name, note in odd[:200]),
        ]
    lines += ["", "## How it was graded", "", f"The class's seed for hidden cases: {seed}."]
    walls = [wall for wall in WALLS if all(wall in r.walls for r in graded)]
    lines.append(f"Submissions were kept from or held to: {', '.join(walls) or 'nothing'}." if graded else "")
    open_ = [wall for wall in WALLS if wall not in walls]
    if graded and open_:
        lines.append(
            f"This system does not allow to keep them from or hold them to: {', '.join(open_)}. Grade in "
            f"a container "
            "or as a user without rights where you don't trust a class."
        )
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    """Text without what Markdown, or HTML in it, would take for its own."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|!" else c for c in text)


def write(out: Path, assignment: Assignment, results: list[Result], seed: str) -> list[Path]:
    """Write the table, the summary and the pages into a folder."""
    files = {
        out / "grades.csv": table(assignment, results),
        out / "summary.md": summary(assignment, results, seed),
        **{out / "feedback" / f"{file_name(r.submission)}.html": page(assignment, r) for r in results},
    }
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        write_whole(path, content.encode("utf-8", errors="replace"))
    return list(files)[:2]


def file_name(submission: str) -> str:
    """A file's name for a submission, which may lie in folders; two submissions never get the same one."""
    safe = submission.replace("_", "__").replace("/", "_-")
    if len(safe.encode()) <= 180:
        return safe
    import hashlib

    return f"{safe[:40]}-{hashlib.sha256(submission.encode()).hexdigest()[:16]}"
