"""The flags of the runs of a study: each is given in one place, the row of the table or the command of the study.

No two rows train the same: a run that counts twice makes the deviation over the seeds too small.
"""

import collections

from absl import flags

from condconv_keras.commands.train_flags import define_flags
from condconv_keras.facts import old_names
from condconv_keras.utils.errors import UserError, one_line

# What a study decides itself, and why a run is not given it.
_OF_THE_STUDY = {"model_dir": "the runs lie in the study's --output_dir", "dry_run": "nothing would be trained"}


def check_flags(runs, common):
    """Raises a `UserError` for a flag that a run would be given twice or that is no flag of a run, and for a run twice.

    A run is trained with what it is given last, and listed as what its row says: one setting, said twice, may differ.

    Args:
        runs: list of `condconv_keras.experiments.table.Run`, the rows of the table in their order.
        common: words of the command line that every run gets.
    """
    of_all, _ = _given(common, "after `--`")
    rows = {}
    for run in runs:
        place = f"in row {run.row} of the table"
        counts, settings = _given(run.arguments, place)
        for name in sorted(counts & of_all):
            raise UserError(f"--{name} is given {place} and after `--`, for all runs: give it in one of the two")
        same = rows.setdefault(settings, run.row)
        if same != run.row:
            raise UserError(f"row {run.row} of the table trains the same as row {same}: give another seed or remove it")


def _given(words, place):
    """What words of a command line give of the flags of `train.py`.

    Returns:
        How often each flag is given, by its name of today, a `Counter`; and the values of all flags, given or not, a
        tuple: `--seed 0`, `--seed=00` and no seed are the same.

    Raises:
        UserError: they give one twice, one that there is not or that is the study's, or a value that it cannot have.
    """
    values = flags.FlagValues()
    define_flags(values)
    # Flags that every command has.
    logging = ",".join(flag.name for flag in flags.FLAGS.flags_by_module_dict().get("absl.logging", []))
    try:
        # The one flag that a run needs, and what all runs are given lacks, is there once more.
        _, *rest = values(["train.py", f"--undefok={logging}", "--model=", *words])
    except (flags.Error, ValueError) as error:
        raise UserError(f"{one_line(error)} ({place})") from error
    if rest:
        raise UserError(f"expected flags of train.py {place}, received: {' '.join(rest)}")
    # What is given under an old name counts for the flag of today, too.
    counts = collections.Counter({name: values[name].present for name in values if name not in old_names.TRAIN_FLAGS})
    counts["model"] -= 1
    for name, reason in _OF_THE_STUDY.items():
        if counts[name]:
            raise UserError(f"--{name} is given {place}: {reason}")
    for name, count in counts.items():
        if count > 1:
            raise UserError(f"--{name} is given twice {place}")
    return +counts, tuple(values[name].value for name in sorted(counts))
