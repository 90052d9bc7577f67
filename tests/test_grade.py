"""Grading: right, wrong, mangled and hostile submissions, and what is handed out."""

import contextlib
import csv
import html
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time

import pytest
import torch
from answers import WRONG
from classroom import BROKEN, HOSTILE, MANGLED, ROOT, SOURCES, answered, version
from typer.testing import CliRunner

from colorlib.cli import app
from colorlib.grading import command, report, source, submission, wire

NAMES = [path.stem for path in SOURCES]


@pytest.fixture(scope="module")
def server():
    with submission.Server() as server:
        yield server


@pytest.fixture
def grade(server, tmp_path):
    """Grade notebooks, by their names, with a server that is already there."""

    def run(name, notebooks, **options):
        home = tmp_path / "handed in"
        home.mkdir(exist_ok=True)
        for title, notebook in notebooks.items():
            content = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
            (home / f"{title}.ipynb").write_bytes(content)
        options = {"seed": "test", "workers": 2, **options}
        out = options.pop("out", tmp_path / "grades")
        path = ROOT / "chapters" / "assignments" / f"{name}.ipynb"
        results = command.run(home, path, out, server=server, progress=False, **options)
        return {result.submission: result for result in results}

    return run


def said(result):
    """All words about a submission."""
    tests = [text for tests in result.tests.values() for text in tests.values()]
    return "; ".join([result.problem, *result.notes, *tests])


# Versions.


@pytest.mark.parametrize("name", NAMES)
def test_no_version_holds_what_is_not_for_its_reader(name):
    original = source.read_notebook(ROOT / "chapters" / "assignments" / f"{name}.ipynb")
    assignment = source.load(ROOT / "chapters" / "assignments" / f"{name}.ipynb")
    texts = {kind: json.dumps(version(name, kind), ensure_ascii=False) for kind in source.VERSIONS}
    cells = [source.text(cell) for cell in original["cells"]]
    solutions = [line.strip() for cell in cells for line in in_solutions(cell) if len(line.strip()) > 12]
    assert solutions
    quoted = {kind: text.replace('\\"', '"') for kind, text in texts.items()}
    for line in solutions:
        assert line not in quoted["student"] and line in quoted["solution"]
    for question in assignment.questions:
        for test in question.tests:
            lines = [line.strip() for line in test.code.split("\n") if "assert" in line or "chance(" in line]
            assert lines
            for line in lines:
                assert line not in quoted["student"] and line not in quoted["solution"]
                assert line in quoted["grading"]
    shipped = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "colorlib").rglob("*.py"))
    for question in assignment.questions:
        for test in question.tests:  # the library that students install holds no hidden test either
            assert not [
                line for line in test.code.split("\n") if "chance(" in line and line.strip() in shipped
            ]
    for kind in ("student", "solution"):
        assert not re.search(r"BEGIN|END |IGNORE|hidden|ASSIGNMENT CONFIG", texts[kind])
        assert all(cell["cell_type"] in ("code", "markdown") for cell in version(name, kind)["cells"])
    assert "NotImplementedError" in texts["student"] and "NotImplementedError" not in texts["solution"]


def in_solutions(cell):
    inside = False
    for line in cell.split("\n"):
        inside = "# BEGIN SOLUTION" in line or (inside and "# END SOLUTION" not in line)
        if inside and "# BEGIN" not in line and not line.strip().startswith('"""'):
            yield line


@pytest.mark.parametrize("name", NAMES)
def test_the_text_states_points_time_and_what_they_sum_to(name):
    notebook, assignment = version(name, "student"), source.load(SOURCES[NAMES.index(name)])
    texts = [source.text(cell) for cell in notebook["cells"]]
    assert f"**{assignment.points:.0f} points" in texts[0] and re.search(r"minutes|[Hh]ours", texts[0])
    everything = "\n".join(texts)
    for question in assignment.questions:
        assert f"({question.points:.0f} points)" in everything
        assert f'check("{question.name}", {question.name})' in everything
    assert "check.target(" in everything and "File > Download" in everything


def test_making_versions(tmp_path, capsys):
    assert source.main(["--out", str(tmp_path), *map(str, SOURCES)]) == 0
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ipynb"))
    assert made == sorted(f"{kind}/{name}.ipynb" for kind in source.VERSIONS for name in NAMES)
    before, after = source.load(SOURCES[0]), source.load(tmp_path / "grading" / f"{NAMES[0]}.ipynb")
    assert (after.questions, after.seconds) == (before.questions, before.seconds)
    assert source.main(["--version", "student", str(tmp_path / "no.ipynb")]) == 1
    (tmp_path / "bad.ipynb").write_text("{}")
    assert source.main([str(tmp_path / "bad.ipynb")]) == 1
    assert "bad.ipynb is not a notebook" in capsys.readouterr().err


@pytest.mark.parametrize(
    "cell, student, solution",
    [
        ("x = 3 # SOLUTION", "x = ...", "x = 3"),
        ("# BEGIN SOLUTION\na\n# END SOLUTION\nb", "b", "a\nb"),
        ('"""  # BEGIN PROMPT\na\n""" # END PROMPT\nb', "a\nb", "b"),
        ('if 1:\n # BEGIN SOLUTION\n a\n # END SOLUTION\n """ # BEGIN PROMPT\n ...\n """; # END PROMPT',
         "if 1:\n ...", "if 1:\n a"),
    ],
)  # fmt: skip
def test_what_a_cell_becomes(cell, student, solution):
    assert (source._without_solutions(cell), source._with_solutions(cell)) == (student, solution)
    with pytest.raises(source.SourceError):
        source._without_solutions("# BEGIN SOLUTION\na")


# Answers.


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_right_blank_and_wrong_answers(name, grade):
    """Right ones get all, blank ones nothing, and each wrong one the points of the tests that it passes."""
    right, assignment = version(name, "solution"), source.load(SOURCES[NAMES.index(name)])
    notebooks, wanted = {"right": right, "blank": version(name, "student")}, {}
    for k in range(max(map(len, WRONG[name].values()))):
        # One notebook with a wrong answer for each question: they don't depend on each other.
        made = right
        for question, answers in WRONG[name].items():
            if k < len(answers):
                made = answered(made, question, answers[k][2])
                wanted[f"wrong {k}", question] = answers[k]
        notebooks[f"wrong {k}"] = made
    results = grade(name, notebooks)
    assert results["right"].points == assignment.points and not results["right"].hints
    assert results["blank"].points == 0 and "as it was handed out" in said(results["blank"])
    for (title, question), (key, passing, _) in wanted.items():
        result = results[title]
        passed = [test for test, text in result.tests[question].items() if text == "passed"]
        assert [test for test in passed if test != "excess"] == passing, (question, key, result.tests)
        points = {t.name: t.points for q in assignment.questions if q.name == question for t in q.tests}
        assert result.earned[question] == sum(points[test] for test in passing)
        first = result.hints[question][0]
        assert 80 <= len(first.split()) <= 160, (key, first)
    page = html.unescape(report.page(assignment, results["wrong 0"]))
    lines = {line.strip() for q in assignment.questions for t in q.tests for line in t.code.split("\n")}
    assert not [line for line in lines if len(line) > 12 and line in page]  # no code of a hidden test


@pytest.mark.slow
def test_mangled_notebooks_are_graded_or_named(grade):
    notebooks = {title: make() for title, (make, _, _) in MANGLED.items()}
    notebooks |= {title: content for title, (content, _) in BROKEN.items()}
    assert len(json.dumps(notebooks["outputs of 50 MB"])) > 50e6
    results = grade("spaces", notebooks)
    faults = []
    for title, (_, points, words) in MANGLED.items():
        result = results[title]
        if result.points != points or words not in said(result) or result.problem:
            faults.append((title, result.points, said(result)))
    for title, (_, words) in BROKEN.items():
        if results[title].points or words not in results[title].problem:
            faults.append((title, results[title]))
    assert not faults


@pytest.mark.slow
def test_hostile_submissions_are_contained_and_named(grade, tmp_path):
    right = version("spaces", "solution")
    home, listening = tmp_path / "handed in", socket.create_server(("127.0.0.1", 0))
    known = {"home": home, "tests": SOURCES[NAMES.index("spaces")], "port": listening.getsockname()[1]}
    known["grader"] = os.getpid()
    home.mkdir()
    (home / "bait.txt").write_text("still here")
    notebooks = {"a right one": right, "one more right one": right, "zz the last one": right}
    for title, (code, _, _) in HOSTILE.items():
        for name, value in known.items():
            code = code.replace(f"{{{name}}}", str(value))
        notebooks[title] = answered(right, "rgb_to_ycbcr", code)
    results = grade("spaces", notebooks, seconds=2.5, memory=400)
    listening.close()
    for title in ("a right one", "one more right one", "zz the last one"):
        assert results[title].points == 10 and (home / f"{title}.ipynb").is_file()
    walls, faults = set(results["a right one"].walls), []
    needs = {
        "other files": (
            "deletes files",
            "writes into the grades",
            "reads the tests",
            "reads the others' answers",
        ),
        "network": ("uses the network",),
        "other processes": ("could end the grader",),
    }
    open_ = {title for wall, titles in needs.items() for title in titles if wall not in walls}
    for title, (_, points, words) in HOSTILE.items():
        got, told = results[title].points, said(results[title])
        fair = got < 10 if points is None else got == points
        # On a busy machine another limit than the one meant may be reached first.
        limited = got < 10 and "than it may" in told
        if title not in open_ and not (fair and words in told) and not limited:
            faults.append((title, results[title].points, said(results[title])))
    assert not faults, (walls, faults)
    if "other files" in walls:
        assert (home / "bait.txt").read_text() == "still here" and not (home / "grades.csv").exists()
    if sys.platform == "linux":  # nothing is left of any of them
        time.sleep(0.2)
        assert not leftovers()


def leftovers():
    """Processes that a submission left: they have a scratch folder for a home, which is gone."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            where = os.readlink(f"/proc/{number}/cwd")
        except OSError:
            continue
        if "/submission-" in where:
            found.append((number, where))
    return found


# The line between the two processes.


def test_values_come_over_the_line_as_they_were():
    generator = torch.Generator().manual_seed(3)
    torch.rand(3, generator=generator)
    value = (
        1,
        2.5,
        None,
        "ä",
        [True, torch.rand(2, 3)],
        {"x": torch.zeros(0, 2), "y": float("inf")},
        generator,
    )
    value += tuple(torch.ones(2, 2).to(dtype) for dtype in wire.DTYPES.values())
    calls = []
    one, function = wire.unpack(wire.pack((value, len), calls), lambda k: calls[k])
    assert function is len
    assert one[:4] == value[:4] and one[5]["y"] == float("inf") and one[5]["x"].shape == (0, 2)
    assert torch.equal(one[4][1], value[4][1])
    assert torch.equal(torch.rand(4, generator=one[6]), torch.rand(4, generator=generator))
    for sent, came in zip(value[7:], one[7:], strict=True):
        assert sent.dtype == came.dtype and torch.equal(sent, came)
    for bad in (object(), len, {1, 2}, 2**70, 1j, torch.ones(1, dtype=torch.complex64)):
        with pytest.raises(TypeError):
            wire.pack(bad)


def test_what_is_no_message_is_garbled_and_nothing_else():
    """Cut off, changed anywhere, or made up: never another error, and never more memory than its size."""
    good = wire.pack({"a": [torch.rand(3, 2), (1, "x")], "b": 2.5})
    chance = random.Random(0)
    tried = [good[:k] for k in range(len(good))] + [good + b"x", b"", bytes(100)]
    tried += [bytes(chance.randrange(256) for _ in range(chance.randrange(60))) for _ in range(300)]
    for _ in range(500):
        changed = bytearray(good)
        changed[chance.randrange(len(good))] = chance.randrange(256)
        tried.append(bytes(changed))
    texts = [
        '{"a": ["float32", [-1, 4], 16]}',
        '{"a": ["float32", [99999999999], 4]}',
        '{"g": 3}',
        "{}",
        '{"z": 1}',
    ]
    texts += [
        "[]",
        '"x"',
        '{"a": ["float32", [1e999], 4]}',
        "[" * 9999,
        '{"l": ' * 50,
        '{"c": 0}',
        '{"a": ["object", [1], 8]}',
        '{"f": "x"}',
        "1" * 2**21,
    ]
    tried += [struct.pack("<I", len(text)) + text.encode() for text in texts]
    for data in tried:
        with contextlib.suppress(wire.Garbled):
            wire.unpack(data)
    for text in texts:
        with pytest.raises(wire.Garbled):
            wire.unpack(struct.pack("<I", len(text)) + text.encode())


# Many.


@pytest.mark.slow
def test_the_same_grades_twice_and_on_after_a_stop(grade, tmp_path, monkeypatch):
    right = version("spaces", "solution")
    wrong = answered(right, "colorfulness", WRONG["spaces"]["colorfulness"][0][2])
    notebooks = {f"{k:02d}": wrong if k % 3 else right for k in range(8)}
    graded = []
    one = submission.grade_one

    def counted(server, assignment, limits, name, path):
        if len(graded) == 5 and not any(g == "stop" for g in graded):
            graded.append("stop")
            raise KeyboardInterrupt
        graded.append(name)
        return one(server, assignment, limits, name, path)

    monkeypatch.setattr(submission, "grade_one", counted)
    with pytest.raises(KeyboardInterrupt):
        grade("spaces", notebooks, workers=1)
    assert not (tmp_path / "grades" / "grades.csv").exists()
    done = [g for g in graded if g != "stop"]
    results = grade("spaces", notebooks, workers=1)
    again = [g for g in graded if g != "stop"][len(done) :]
    assert len(done) >= 5 and sorted(done + again) == sorted(notebooks)  # none of them twice
    assert [results[name].points for name in notebooks] == [7 if k % 3 else 10 for k in range(8)]
    files = {
        p.name: p.read_bytes() for p in (tmp_path / "grades").rglob("*") if p.suffix in (".csv", ".html")
    }
    grade("spaces", notebooks, out=tmp_path / "others")
    others = {
        p.name: p.read_bytes() for p in (tmp_path / "others").rglob("*") if p.suffix in (".csv", ".html")
    }
    assert files == others and len(files) == 9
    # A file that changed is graded anew, and no other.
    count = len(graded)
    grade("spaces", {**notebooks, "03": wrong})
    assert graded[count:] == ["03"]


def test_the_table_is_for_learning_platforms(grade, tmp_path):
    wrong = answered(
        version("spaces", "solution"), "colorfulness", "def colorfulness(rgb):\n    return '=1+1'"
    )
    grade("spaces", {"=cmd|' '!A1": wrong, "Ada, Lovelace": version("spaces", "student")})
    with open(tmp_path / "grades" / "grades.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["submission"] for row in rows] == ["'=cmd|' '!A1", "Ada, Lovelace"]
    assert (rows[0]["points"], rows[0]["out of"], rows[0]["percent"]) == ("6", "10", "60.0")
    assert (rows[0]["rgb_to_ycbcr"], rows[0]["colorfulness"], rows[1]["points"]) == ("3", "0", "0")
    summary = (tmp_path / "grades" / "summary.md").read_text(encoding="utf-8")
    first = next(line for line in summary.splitlines() if line.startswith("| colorfulness"))
    assert "0%" in first and "2 submissions" in summary and "seed" in summary


def test_words_of_a_submission_stay_words():
    assignment = source.Assignment("a", [], [source.Question("f", [source.Test("t", 1, "")])])
    text = "<script>alert(1)</script> | [x](http://y) `"
    result = submission.Result(text, 0, {"f": {"t": text}}, {"f": 0}, {"f": [text]}, {}, [text], text)
    page, summary = report.page(assignment, result), report.summary(assignment, [result], "1")
    assert "<script" not in page and "<script" not in summary and "[x](" not in summary
    assert report.table(assignment, [result]).count("\n") == 2


def test_a_class_is_ranked_by_what_a_test_measures():
    assignment = source.Assignment("a", [], [source.Question("f", [source.Test("t", 1, "")])])
    results = [submission.Result(n, measures=m) for n, m in (("a", {"e": 3.0}), ("b", {}), ("c", {"e": 1.0}))]
    rows = list(csv.DictReader(report.table(assignment, results).splitlines()))
    assert [row["rank by e"] for row in rows] == ["2", "", "1"]


def test_points_are_clamped_to_what_a_question_is_worth(monkeypatch):
    question = source.Question("f", [source.Test("a", 2.0, ""), source.Test("b", 1.0, "")])
    monkeypatch.setattr(submission, "_test", lambda runner, test: ("passed", None))
    result = submission.Result("x")
    submission._question(submission._Runner(None, None, None, None), question, None, result)
    assert result.earned == {"f": 3.0}


def test_names_of_pages_never_meet():
    names = ["a/b", "a_b", "a_-b", "a__b", "a_/b", "x" * 300, "x" * 301]
    assert len({report.file_name(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["{home}", "--assignment", "nosuch", "--out", "{tmp}/out"], "there is no assignment nosuch"),
        (["{tmp}/none", "--assignment", "{spaces}", "--out", "{tmp}/out"], "there is no folder"),
        (["{tmp}/empty", "--assignment", "{spaces}", "--out", "{tmp}/out"], "no .ipynb file"),
        (["{home}", "--assignment", "{spaces}", "--out", "{home}"], "is not empty and holds no grades"),
        (["{home}", "--assignment", "{spaces}", "--out", "{tmp}/out", "--memory", "1"], "--memory must be"),
        (["{home}", "--assignment", "{spaces}", "--out", "{tmp}/out", "--seconds", "0"], "--seconds must be"),
        (["{home}", "--assignment", "{tmp}/home/x.ipynb", "--out", "{tmp}/out"], "is no assignment"),
        (["{home}", "--assignment", "{spaces}", "--out", "{tmp}/som"], "holds the grades of som"),
    ],
)
def test_a_command_that_can_t_be_done_is_told(arguments, words, tmp_path):
    for folder in ("home", "empty", "som"):
        (tmp_path / folder).mkdir()
    (tmp_path / "home" / "x.ipynb").write_text(json.dumps(version("spaces", "student")))
    (tmp_path / "som" / command.KEPT).write_text('{"assignment": "som", "seed": "1"}')
    known = {"home": tmp_path / "home", "tmp": tmp_path, "spaces": SOURCES[NAMES.index("spaces")]}
    done = CliRunner().invoke(app, ["grade", *(a.format(**known) for a in arguments)])
    assert done.exit_code == 1 and words in done.stderr and not done.stdout
    assert not (tmp_path / "out" / "grades.csv").exists()


@pytest.mark.slow
def test_the_command_from_a_shell(tmp_path):
    (tmp_path / "in" / "Ada_1").mkdir(parents=True)
    (tmp_path / "in" / "Ada_1" / "x.ipynb").write_text(json.dumps(version("spaces", "solution")))
    arguments = ["grade", "in", "--assignment", SOURCES[NAMES.index("spaces")], "--out", "grades"]
    done = subprocess.run(
        [sys.executable, "-m", "colorlib", *arguments], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 submissions, 0 of them could not be graded" in done.stdout
    assert "Ada_1/x,10,10,100.0,3,3,4" in (tmp_path / "grades" / "grades.csv").read_text()
    assert len(list((tmp_path / "grades" / "feedback").iterdir())) == 1
