"""The script that tries faults of the library, on small texts and a small checkout."""

import ast
import json
import subprocess

import pytest

from condconv_keras.utils.errors import UserError
from scripts.mutants import __main__ as mutants
from scripts.mutants import draw as mutant_draw
from scripts.mutants import trial as mutant_trial
from scripts.mutants.faults import Mutation, mutations
from tests import processes


def _faults(text):
    """The kind and the text of every fault, in the order of the text."""
    return [(mutation.kind, mutation.apply(text)) for mutation in mutations(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b", [("operator", "a <= b")]),
        ("a >= b", [("operator", "a > b")]),
        ("a == b != c", [("operator", "a != b != c"), ("operator", "a == b == c")]),
        ("a and b or c", [("operator", "a or b or c"), ("operator", "a and b and c")]),
        ("not a", [("operator", "a")]),
        ("-a", [("operator", "a")]),
        ("a // b", [("operator", "a * b")]),
        ("a % b", [("operator", "a * b")]),
        ("a ** b", [("operator", "a * b")]),
        ("a += b", [("operator", "a -= b")]),
        ("np.maximum(a, min(b))", [("operator", "np.minimum(a, min(b))"), ("operator", "np.maximum(a, max(b))")]),
        ("x[0]", [("constant", "x[1]")]),
        ("x = 0.5", [("constant", "x = 1.5")]),
        ("f(a=True)", [("constant", "f(a=False)")]),
        ("f(x, axis=1)", [("axis", "f(x, axis=0)")]),
        ("f(x, axis=0)", [("axis", "f(x, axis=1)")]),
        ("f(x, axis=-1)", [("axis", "f(x, axis=0)"), ("axis", "f(x, axis=1)")]),
        ("f(x, axis=(1, 2))", [("axis", "f(x, axis=(0, 2))"), ("axis", "f(x, axis=(1, 0))")]),
        ("def f(x, *, axis=-1): ...", [("axis", "def f(x, *, axis=0): ..."), ("axis", "def f(x, *, axis=1): ...")]),
        ("def f(x, axis=1): ...", [("axis", "def f(x, axis=0): ...")]),
        ("a - (b)", [("term", "a"), ("operator", "a + (b)")]),
        ("(a + b) * c", [("term", "c"), ("term", "(b) * c"), ("term", "(a) * c"), ("operator", "(a - b) * c")]
        + [("term", "(a + b)"), ("operator", "(a + b) / c")]),
        ("a + b + c", [("term", "b + c"), ("term", "a + c"), ("operator", "a - b + c")]
        + [("term", "a + b"), ("operator", "a + b - c")]),
        ("f(é, a / b)", [("term", "f(é, a)"), ("operator", "f(é, a * b)")]),
        ("f(a\n  * b)", [("term", "f(b)"), ("term", "f(a)"), ("operator", "f(a\n  / b)")]),
    ],
)  # fmt: skip
def test_faults_of_a_line(text, expected):
    assert _faults(text) == expected
    for _, changed in expected:
        ast.parse(changed)


@pytest.mark.parametrize(
    "text",
    [
        '"""a + b < 1."""',
        '__all__ = ["a", "b"]',
        "def f(x: 1 + 2) -> 3 < 4: ...",
        "x: dict[0]",
        'raise ValueError("a" + str(1 + 2))',
        'f"{a + 1}"',
        'folder / f"{name}.txt" / "x"',
        'text + "\\n"',
        'if __name__ == "__main__":\n    f(1)',
        "@dataclass(frozen=True)\nclass C: ...",
        "zip(a, b, strict=True)",
        "a in b",
    ],
)
def test_what_has_no_fault(text):
    assert mutations(text) == []


def test_the_lines_of_a_fault():
    text = "x = 1\n\nif (a\n    and b):\n    pass\n"
    (fault,) = [mutation for mutation in mutations(text) if mutation.kind == "operator"]
    assert fault.lines(text) == (4, "and b):", "or b):")
    assert Mutation(0, 5, "y", "term").lines("x = 12") == (1, "x = 12", "y2")


def test_a_fault_that_is_felt_compiles_to_another_program():
    assert Mutation(4, 5, "2", "constant").is_felt("x = 1")
    assert Mutation(4, 5, "True", "constant").is_felt("x = 1")  # though True == 1
    assert not Mutation(4, 5, "(1)", "constant").is_felt("x = 1")
    assert not Mutation(4, 5, "(", "constant").is_felt("x = 1")
    inner = "def f():\n    return 1"
    assert Mutation(20, 21, "2", "constant").is_felt(inner)
    assert not Mutation(20, 21, "(1)", "constant").is_felt(inner)


TEXTS = {
    "condconv_keras/data/a.py": "\n".join(f"x{i} = a{i} + {i}" for i in range(30)),
    "condconv_keras/data/sub/b.py": "f(axis=1)",
    "condconv_keras/utils/c.py": "y = a < b",
    "condconv_keras/front.py": "z = 1",
    "train.py": "w = not a",
}


def test_the_draw_is_that_of_its_seed():
    drawn = mutant_draw.draw(TEXTS, seed=3, count=10)
    assert drawn == mutant_draw.draw(dict(reversed(TEXTS.items())), seed=3, count=10)
    assert drawn != mutant_draw.draw(TEXTS, seed=4, count=10)
    assert len(set(drawn)) == 10


def test_every_package_has_a_fault_and_the_kinds_are_drawn_evenly():
    drawn = mutant_draw.draw(TEXTS, seed=0, count=10)
    assert [fault.package for fault in drawn] == ["commands", "condconv_keras", *["data"] * 7, "utils"]
    assert {fault.path for fault in drawn} == set(TEXTS)  # `b.py` has the one axis among 121 places
    with pytest.raises(UserError, match="each of 4 packages, received 3"):
        mutant_draw.draw(TEXTS, seed=0, count=3)


def test_a_fault_that_changes_nothing_is_drawn_again():
    texts = {"condconv_keras/data/a.py": "x = 1 * 1"}
    drawn = mutant_draw.draw(texts, seed=0, count=8)
    changed = {fault.mutation.apply(texts[fault.path]) for fault in drawn}
    assert changed == {"x = 1 / 1", "x = 2 * 1", "x = 1 * 2"}  # both dropped terms leave `x = 1`, the same number
    assert len(drawn) == 3


def test_two_faults_do_not_make_the_same_text():
    drawn = mutant_draw.draw({"condconv_keras/data/a.py": "x = a * a"}, seed=0, count=8)
    assert {fault.mutation.apply("x = a * a") for fault in drawn} == {"x = a", "x = a / a"}
    assert len(drawn) == 2


def test_shares():
    assert mutant_draw.share(10, {"a": 60, "b": 30, "c": 10}) == {"a": 5, "b": 3, "c": 2}


LIBRARY = {
    "condconv_keras/__init__.py": "",
    "condconv_keras/front.py": "",
    "condconv_keras/data/__init__.py": "",
    "condconv_keras/data/square.py": "def square(x):\n    return x * x + 0\n",
    "train.py": "",
    "scripts/demo.py": "",
    "tests/data/test_all.py": (
        "from condconv_keras.data import square\n"
        "def test_broken():\n    assert square.square(1) == 3\n"
        "def test_kept():\n    assert square.square(3) == 9\n"
    ),
    "tests/data/sub/test_other.py": "",
    "tests/data/test_square.py": "",
    "tests/scripts/test_demo.py": "",
    "tests/commands/test_train.py": "",
    "tests/utils/test_x.py": "from condconv_keras import front",
    "tests/test_front.py": "",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\npythonpath = ['.']\n"
    "markers = ['slow']\n",
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path):
    """A small library with its tests, one of which fails."""
    folder = tmp_path / "small"
    for name, text in LIBRARY.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def _fault(path, old, new):
    start = LIBRARY[path].index(old)
    return mutant_draw.Mutant(mutant_draw.package_of(path), path, Mutation(start, start + len(old), new, "operator"))


def test_tests_of_a_package(checkout):
    fault = _fault("condconv_keras/data/square.py", "*", "/")
    assert mutant_trial.tests_of(checkout, fault) == [
        "tests/data/test_square.py",
        "tests/data/sub/test_other.py",
        "tests/data/test_all.py",
    ]
    assert mutant_trial.tests_of(checkout, _fault("train.py", "", "")) == ["tests/commands/test_train.py"]
    front = mutant_trial.tests_of(checkout, _fault("condconv_keras/front.py", "", ""))
    assert front == ["tests/test_front.py", "tests/utils/test_x.py"]


def test_a_fault_is_killed_by_a_test_that_passes_without_it(checkout):
    fault = _fault("condconv_keras/data/square.py", "*", "/")
    result = mutant_trial.try_mutant(checkout, fault, failing=(), limit=100)
    assert (result["outcome"], result["failed"]) == ("killed", "tests/data/test_all.py::test_kept")
    assert result["reason"].startswith("assert 1.0 == 9")
    assert result["left_out"] == ["tests/data/test_all.py::test_broken"]
    assert (checkout / fault.path).read_text() == LIBRARY[fault.path]


def test_a_fault_that_no_test_finds_survives(checkout):
    fault = _fault("condconv_keras/data/square.py", "+", "-")
    failing = ("tests/data/test_all.py::test_broken",)
    result = mutant_trial.try_mutant(checkout, fault, failing, limit=100)
    assert (result["outcome"], result["failed"], result["left_out"]) == ("survived", None, list(failing))


@pytest.mark.slow
def test_a_fault_that_takes_all_the_time_is_named(checkout):
    text = "def square(x):\n    while True: pass\n"
    path = "condconv_keras/data/square.py"
    fault = mutant_draw.Mutant("data", path, Mutation(0, len(LIBRARY[path]), text, "operator"))
    result = mutant_trial.try_mutant(checkout, fault, failing=(), limit=6)
    assert (result["outcome"], result["failed"]) == ("timeout", "tests/data/test_all.py::test_broken")


def test_a_file_that_cannot_be_imported_is_killed(checkout):
    fault = _fault("condconv_keras/data/square.py", "def square", "1 / 0\ndef square")
    result = mutant_trial.try_mutant(checkout, fault, failing=(), limit=100)
    assert (result["outcome"], result["failed"]) == ("killed", "tests/data/test_all.py")
    assert result["reason"] == "ZeroDivisionError: division by zero"


def test_the_command_goes_on_where_it_stopped(checkout, tmp_path):
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", checkout, *command], check=True)
    output = tmp_path / "results.jsonl"
    command = ("-m", "scripts.mutants", f"--repo={checkout}", "--count=3", "--seed=1", f"--output={output}")
    listed = processes.run(*command, "--list").stdout.splitlines()
    assert len(listed) == 3
    assert not output.exists()
    first = processes.run(*command)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [mutants._line({**row, "outcome": None, "failed": None}) for row in rows] == listed
    killed = sum(row["outcome"] == "killed" for row in rows)
    assert first.stdout.splitlines()[0] == f"killed {killed} of 3, 0 by time"
    assert first.stdout.count("\nsurvived  condconv_keras/data/square.py:2  ") == 3 - killed > 0
    output.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    again = processes.run(*command)
    assert again.stdout == first.stdout
    assert len(again.stderr.splitlines()) == 1
    assert [{**json.loads(line), "seconds": 0} for line in output.read_text().splitlines()] == [
        {**row, "seconds": 0} for row in rows
    ]
    processes.assert_refused(*command, "--seed=2", contains="results of another draw")
