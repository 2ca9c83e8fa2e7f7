"""What a user hands over as text: tables of runs and command lines; as `tests.fuzz.subjects`."""

import csv
import dataclasses
import io
import random
import shlex

from absl import flags

from condconv_keras.commands import train
from condconv_keras.commands.train_flags import define_flags
from condconv_keras.experiments.table import COLUMNS, read_table
from condconv_keras.utils.errors import UserError, one_line
from tests.fuzz.subjects import DRY_RUN, Subject
from tests.fuzz.text_mutators import FLAGS

_LARGEST_BATCH = 64  # of a dry run on digits


# Tables of runs.
def _make_table(folder, number):
    rng = random.Random(number)
    rows = [
        (rng.choice(("mobilenet_v1", "condconv_mobilenet_v1")), "0.25", "", str(i), f"--learning_rate=0.{i + 1}")
        for i in range(4)
    ]
    with open(folder / "runs.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _read_rows(folder):
    return [
        (r.setting.model, r.setting.width_multiplier, r.setting.num_experts, r.seed, shlex.split(r.setting.flags))
        for r in read_table(_table(folder))
    ]


def _table(folder):
    return next(folder.glob("runs.*"))


def _see_rows(folder):
    content = _table(folder).read_bytes()
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    first, _, rest = text.partition("\n")
    if first.startswith("sep="):
        delimiter, text = first[4], rest
    else:
        delimiter = max(",;\t", key=first.count)
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    cells = [dict(zip((name.strip() for name in header), map(str.strip, row), strict=False)) for row in rows]
    found = [tuple(row.get(name, "") for name in COLUMNS) for row in cells if any(row.values())]
    return [(model, width.replace(",", "."), n, seed, shlex.split(words)) for model, width, n, seed, words in found]


def _study(folder, aside, read):
    # What is accepted would be trained.
    return None if read else ("-m", "experiments", f"--table={_table(folder)}", f"--output_dir={aside / 'study'}")


# Command lines of train.py.
def _make_flags(folder, number):
    rng = random.Random(number)
    values = {
        "model": rng.choice(("mobilenet_v1", "condconv_mobilenet_v1")),
        "batch_size": rng.choice((8, 32, 64)),
        "learning_rate": rng.choice((0.1, 0.02)),
        "epochs": rng.choice((2, 10)),
        "seed": rng.randrange(100),
        "label_smoothing": rng.choice((0, 0.1)),
    }
    (folder / FLAGS).write_text("\n".join(f"--{name}={value}" for name, value in values.items()) + "\n")


def _words(folder):
    text = next(folder.glob("flags.*")).read_text("utf-8", "surrogateescape")
    return [word for word in text.split("\n") if word]


def _read_flags(folder):
    values = flags.FlagValues()
    define_flags(values)
    try:
        rest = values(["train.py", *_words(folder)])
        if len(rest) > 1:
            raise UserError(f"expected flags only, received: {rest[1:]}")
        config = train.config_from_flags(values)[0]
    except (flags.Error, ValueError) as error:  # as of `condconv_keras.commands.cli`
        raise UserError(one_line(error)) from error
    recipe = {field.name: getattr(config.recipe, field.name) for field in dataclasses.fields(config.recipe)}
    found = {**recipe, "model": config.model, "seed": config.seed}
    return {name: found[name] for name in values if values[name].present}


def _see_flags(folder):
    words, given = iter(_words(folder)), {}
    for word in words:
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        given[name] = value if equals else next(words)
    return {name: value if name == "model" else _number(value) for name, value in given.items()}


def _number(text):
    if text.startswith("0x"):
        return int(text, 16)
    return int(text) if text.removeprefix("-").isdigit() else float(text)


def _train_with_flags(folder, aside, read):
    words = _words(folder)
    if any("\0" in word for word in words) or (read and read.get("batch_size", 0) > _LARGEST_BATCH):
        return None
    return (*DRY_RUN[:2], *words)


TEXT_SUBJECTS = {
    "table": Subject(_make_table, _read_rows, _see_rows, _study),
    "flags": Subject(_make_flags, _read_flags, _see_flags, _train_with_flags),
}
