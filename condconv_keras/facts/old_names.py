"""What has been renamed since version 0.1: the one table of the old names, and how they are read.

Stored files and command lines of earlier versions say these names; nothing writes them.
"""

import types

# Fields of `Preprocessing`, in cards and in what a run inherits.
PREPROCESSING = types.MappingProxyType({"offset": "mean", "scale": "std"})
# Arguments of models, in runs and of `create_model`; flags of `train.py` too.
MODEL_ARGUMENTS = types.MappingProxyType({"start_group": "start_stage", "condconv_heads": "condconv_predictors"})
# Values of a layer's `implementation`: a form that no selection chose is gone.
IMPLEMENTATIONS = types.MappingProxyType({"vectorized_map": "auto"})
# Fields of `TrainConfig`, in `config.json`; flags of `train.py` too.
RUN = types.MappingProxyType({"initial_weights": "weights"})
# Flags of the exporter.
EXPORT_FLAGS = types.MappingProxyType({"gate_examples": "check_examples"})
# Flags of `train.py`.
TRAIN_FLAGS = types.MappingProxyType({**MODEL_ARGUMENTS, **RUN})


def renamed(fields, names):
    """Returns fields under their names of today.

    Args:
        fields: mapping of names, old or new, to values.
        names: one of the tables above, from old names to new.

    Returns:
        A dict.

    Raises:
        ValueError: a field is there under both of its names.
        TypeError: `fields` is not empty and no mapping.
    """
    for old, new in names.items():
        if old in fields and new in fields:
            raise ValueError(f"expected {new!r} or {old!r}, its old name. Received: both")
    return {names.get(name, name): fields[name] for name in fields}
