"""Prints the models with their size and cost next to the paper's figures: `python -m models [pattern] [--csv [PATH]]`.

Parameters and multiply-adds are counted on the model as it is built here (`condconv_keras.profiling` has the rules);
the paper's columns are what its authors report. Multiply-adds and parameters are in millions, top-1 in percent.
"""

import argparse
import csv
import io
import os
import sys

from condconv_keras.errors import UserError, unknown_name
from condconv_keras.files import write_text
from models.registry import create_model, list_models, model_entry

_COLUMNS = (
    "model",
    "input",
    "parameters",
    "of which BN",
    "multiply-adds",
    "convolution",
    "mixing",
    "routing",
    "paper multiply-adds",
    "difference %",
    "paper top-1 %",
)


def main(argv=None):
    """Runs the command; returns the exit code."""
    options = _parse(argv)
    try:
        names = list_models(options.pattern)
        if not names:
            raise unknown_name("model", options.pattern, list_models())
        _check_csv_path(options.csv)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        rows = [_row(model_entry(name)) for name in names]
        if options.csv is None:
            print(_table(rows))
        else:
            _write_csv(rows, options.csv)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UserError.EXIT_CODE
    return 0


class _Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one line."""

    def error(self, message):
        self.exit(UserError.EXIT_CODE, f"error: {message}\n")


def _parse(argv):
    parser = _Parser(prog="python -m models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of model names, as in 'condconv_*'")
    parser.add_argument(
        "--csv",
        nargs="?",
        const="-",
        metavar="PATH",
        help="write CSV to PATH (*.csv) or standard output",
    )
    return parser.parse_args(argv)


def _check_csv_path(path):
    if path in (None, "-"):
        return
    # The suffix catches `--csv 'mobilenet*'`, a pattern taken for the path.
    if not path.endswith(".csv") or not os.path.isdir(os.path.dirname(path) or "."):
        raise UserError(f"--csv takes a path that ends in .csv, in a folder that exists. Received: {path!r}")


def _row(entry):
    """One line of the table: strings in the order of `_COLUMNS`, empty where the paper has no figure."""
    import keras

    from condconv_keras.profiling import profile

    model = create_model(entry.name)
    counts = profile(model)
    input_shape = "x".join(str(size) for size in model.input.shape[1:])
    keras.backend.clear_session()
    difference = ""
    if entry.paper_multiply_adds:
        difference = f"{counts.multiply_adds / 1e4 / entry.paper_multiply_adds - 100:+.2f}"
    return (
        entry.name,
        input_shape,
        _millions(counts.parameters),
        _millions(counts.batch_norm_parameters),
        _millions(counts.multiply_adds),
        _millions(counts.convolution),
        _millions(counts.mixing),
        _millions(counts.routing),
        "" if entry.paper_multiply_adds is None else f"{entry.paper_multiply_adds:g}",
        difference,
        "" if entry.paper_top_1 is None else f"{entry.paper_top_1:.1f}",
    )


def _millions(count):
    return f"{count / 1e6:.2f}"


def _table(rows):
    """Aligned columns: names to the left, figures to the right."""
    lines = [_COLUMNS, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def _write_csv(rows, path):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    if path == "-":
        sys.stdout.write(text.getvalue())
        return
    write_text(path, text.getvalue())


if __name__ == "__main__":
    sys.exit(main())
