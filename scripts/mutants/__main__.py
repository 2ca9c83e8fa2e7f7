"""Draws faults of the library and counts those that its tests find: `python -m scripts.mutants --output=mutants.jsonl`.

A fault is one token: an operator, a constant, an axis, a dropped term. Every package has one at least, the others go to
the packages by their number of places; within a package the kind is drawn, then the place. Each fault is tried in a
copy of what the checkout has committed: the tests of its own package run up to the first failure. A fault is killed if
one fails that passes without it; a test that fails without it, too, is left out. The file of the results has a line for
each fault, and a run that was stopped goes on with those that it lacks.

`--repo` may be a checkout of an earlier version: `models`, `export`, `experiments` and the commands were no part of
`condconv_keras` then.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.json_text import json_text
from scripts.mutants.draw import draw, library_texts
from scripts.mutants.trial import try_mutant

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    repo = pathlib.Path(FLAGS.repo).resolve()
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=FLAGS.work) as work:
        checkout = pathlib.Path(work) / "checkout"
        _git("-c", "advice.detachedHead=false", "clone", "--quiet", str(repo), str(checkout))
        texts = library_texts(checkout)
        mutants = draw(texts, FLAGS.seed, FLAGS.count)
        rows = [describe(mutant, texts[mutant.path]) for mutant in mutants]
        if FLAGS.list:
            return "\n".join(map(_line, rows))
        head = {"commit": _git("-C", str(checkout), "rev-parse", "HEAD").strip(), "seed": FLAGS.seed}
        output = pathlib.Path(FLAGS.output)
        done = read_results(output, head)
        for mutant, row in zip(mutants, rows, strict=True):
            if _key(row) not in done:
                tried = try_mutant(checkout, mutant, known_failures(done), FLAGS.time_limit)
                result = done[_key(row)] = {**head, **row, **tried}
                with output.open("a", encoding="utf-8") as file:
                    file.write(json_text(result, indent=None) + "\n")
                print(_line(result), file=sys.stderr, flush=True)
    return summary([done[_key(row)] for row in rows])


def describe(mutant, text):
    """Returns a dict of what a fault is."""
    line, before, after = mutant.mutation.lines(text)
    place = {"package": mutant.package, "file": mutant.path, "line": line}
    return {**place, "kind": mutant.mutation.kind, "before": before, "after": after}


def read_results(path, head):
    """Returns a dict of a file's results by their fault; the file may be missing."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    for row in rows:
        if {name: row[name] for name in head} != head:
            raise UserError(f"--output {str(path)!r} has results of another draw: expected {head}, received {row}")
    return {_key(row): row for row in rows}


def known_failures(done):
    """Returns the set of the tests that were found to fail without a fault."""
    return {test for row in done.values() for test in row["left_out"]}


def summary(rows):
    """Returns the counts and the survivors as text."""
    counts = {name: sum(row["outcome"] == name for row in rows) for name in ("killed", "timeout", "survived")}
    lines = [f"killed {counts['killed'] + counts['timeout']} of {len(rows)}, {counts['timeout']} by time"]
    return "\n".join(lines + [_line(row) for row in rows if row["outcome"] == "survived"])


def _line(row):
    parts = [row.get("outcome"), f"{row['file']}:{row['line']}", row["kind"], f"{row['before']}  ->  {row['after']}"]
    return "  ".join(part for part in [*parts, row.get("failed")] if part)


def _key(row):
    return row["file"], row["line"], row["before"], row["after"]


def _git(*arguments):
    return subprocess.run(["git", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    flags.DEFINE_string("repo", ".", "Checkout whose library and tests are tried.")
    flags.DEFINE_integer("seed", 0, "Seed of the draw.")
    flags.DEFINE_integer("count", 24, "Number of faults.")
    flags.DEFINE_string("output", "mutants.jsonl", "File of the results, a JSON object a line.")
    flags.DEFINE_string("work", None, "Folder for the copy; default: the system's for temporary files.")
    flags.DEFINE_float("time_limit", 3600, "Seconds for the tests of one fault.")
    flags.DEFINE_boolean("list", False, "Print the faults that are drawn, and run no test.")
    cli.run(main)
