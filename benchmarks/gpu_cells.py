"""The cells of `benchmarks.gpu`: a layer or a network in one setting, measured into the rows of a table.

Both kinds of cells have `table`, the name of their file, and its `columns`; `kind`, the same of cells that take about
as long; `measure(settings)`, which returns rows as dicts; `failed(error)`, the row of a cell that could not be
measured; and `describe(rows)`, one line.
"""

import collections
import gc
import itertools
import statistics

from benchmarks.layers import layer_calls
from benchmarks.rounds import ratio_of, timed_or_failed, wait_for_device
from benchmarks.twins import build_pair
from benchmarks.work import make_call

WAYS = ("forward", "gradient")
WORKS = ("training", "inference")
# Half of `benchmarks.layers`: half of the tracing, which is most of the time of a cell.
_APPLICATIONS = 4
# A part of the layers or networks is measured in every setting before the next part is begun: where the time ends, some
# of every kind have all settings. The grid has five sizes of each 1x1 layer, so that every fourth is another size.
_PARTS = 4
_LAYER_SECONDS, _NETWORK_SECONDS = 0.01, 0.2
_PLAIN, _TWIN = "plain", "condconv"
_RATIOS = ("ratio", "ratio_low", "ratio_high")
_MILLISECONDS, _ERRORS = (tuple(f"{name}_{what}" for name in (_PLAIN, _TWIN)) for what in ("ms", "error"))


class Settings:
    """What the cells of a run share.

    Args:
        rounds: interleaved rounds of a cell.
        input_size: height and width of the networks' images, or None for each network's own.
    """

    def __init__(self, rounds, input_size=None):
        self.rounds = rounds
        self._input_size = input_size
        self._built, self._pair = None, None

    def pair(self, model, precision):
        """Returns the plain network and its twin, built once for all cells in a row that ask for the same."""
        import keras

        if self._built != (model, precision):
            # Their memory is needed for the next ones: networks and their graphs refer to each other.
            self._built, self._pair = None, None
            keras.backend.clear_session()
            gc.collect()
            self._pair = build_pair(model, self._input_size)
            self._built = model, precision
        return self._pair


class LayerCell(collections.namedtuple("LayerCell", "layer batch precision way")):
    """A plain layer and every form of its CondConv layer; `layer` is one of `benchmarks.layers.LAYERS`."""

    table = "layers.csv"
    columns = ("layer", "batch", "precision", "way", "form", "ms", *_RATIOS, "selected", "fastest", "error")

    @property
    def kind(self):
        """The same of cells that take about as long."""
        return self.batch, self.way

    def measure(self, settings):
        """Returns a row for the plain layer and for each form: milliseconds of one application, ratios to the plain."""
        index = WAYS.index(self.way)
        pairs, selected = layer_calls(self.layer, self.batch, _APPLICATIONS)
        calls = {name: pair[index] for name, pair in pairs.items()}
        times, errors = timed_or_failed(calls, settings.rounds, _LAYER_SECONDS, wait_for_device)
        times = {name: [seconds / _APPLICATIONS for seconds in values] for name, values in times.items()}
        medians = {name: statistics.median(values) for name, values in times.items() if name != _PLAIN}
        fastest = min(medians, key=medians.get, default=None)
        return [
            {
                **self._setting(),
                "form": name,
                **_figures(times, name),
                "selected": name == selected[index],
                "fastest": name == fastest,
                "error": errors.get(name),
            }
            for name in calls
        ]

    def failed(self, error):
        """Returns the row of a cell that could not be measured at all."""
        return {**self._setting(), "error": error}

    def _setting(self):
        return {**self._asdict(), "layer": self.layer[0]}

    def describe(self, rows):
        """Returns one line: the forms' ratios, `*` at what `auto` selects."""
        title = f"{self.layer[0]:28} b{self.batch:<3} {self.precision:14} {self.way:8}"
        if "form" not in rows[0]:
            return f"{title}  {rows[0]['error']}"
        plain, *forms = rows
        ratios = (f"{row['form']} {_ratio_text(row)}{'*' * row['selected']}" for row in forms)
        return f"{title}  plain {_time_text(plain.get('ms'))}  {'  '.join(ratios)}"


class NetworkCell(collections.namedtuple("NetworkCell", "model work batch precision jit_compile")):
    """A twin and its plain network at work; `model` is the twin's registry name."""

    table = "networks.csv"
    columns = ("model", "work", "batch", "precision", "jit_compile", *_MILLISECONDS, *_RATIOS, *_ERRORS)

    @property
    def kind(self):
        """The same of cells that take about as long."""
        return self.work, self.batch, self.jit_compile

    def measure(self, settings):
        """Returns one row: milliseconds of a batch, and the ratio of the twin's to the plain network's."""
        pair = settings.pair(self.model, self.precision)
        calls = {
            name: make_call(self.work, network, self.batch, self.jit_compile)
            for name, network in zip((_PLAIN, _TWIN), pair, strict=True)
        }
        times, errors = timed_or_failed(calls, settings.rounds, _NETWORK_SECONDS, wait_for_device)
        figures = [_figures(times, name) for name in calls]
        milliseconds = [each.pop("ms", None) for each in figures]
        row = {**self._asdict(), **figures[-1], **dict(zip(_MILLISECONDS, milliseconds, strict=True))}
        return [row | dict(zip(_ERRORS, map(errors.get, calls), strict=True))]

    def failed(self, error):
        """Returns the row of a cell that could not be measured at all."""
        return self._asdict() | dict.fromkeys(_ERRORS, error)

    def describe(self, rows):
        """Returns one line: both times and their ratio."""
        (row,) = rows
        jit = "jit" if self.jit_compile else "no jit"
        title = f"{self.model:28} b{self.batch:<3} {self.precision:14} {self.work:9} {jit:6}"
        plain, twin = (_time_text(row.get(name)) for name in _MILLISECONDS)
        return f"{title}  plain {plain}  CondConv {twin}  ratio {_ratio_text(row)}"


def layer_cells(layers, batches, precisions):
    """Returns the cells of these layers, the most informative ones first."""
    return [
        LayerCell(layer, batch, precision, way)
        for part in _parts(layers)
        for batch, precision in itertools.product(batches, precisions)
        for layer, way in itertools.product(part, WAYS)
    ]


def network_cells(models, batches, precisions):
    """Returns the cells of these networks, the most informative ones first; those of one pair follow each other."""
    return [
        NetworkCell(model, work, batch, precision, jit_compile)
        for part in _parts(models)
        for batch, precision in itertools.product(batches, precisions)
        for model, jit_compile, work in itertools.product(part, (False, True), WORKS)
    ]


def _parts(items):
    return [items[start::_PARTS] for start in range(_PARTS)]


def _figures(times, name):
    """The cells of a row for a call: its median, and the ratio to the plain one, where they were measured."""
    if name not in times:
        return {}
    figures = {"ms": float(f"{1e3 * statistics.median(times[name]):.4g}")}
    if _PLAIN in times:
        ratios = (round(each, 3) for each in ratio_of(times[_PLAIN], times[name]))
        figures |= zip(_RATIOS, ratios, strict=True)
    return figures


def _time_text(milliseconds):
    return "failed" if milliseconds is None else f"{milliseconds} ms"


def _ratio_text(row):
    """The ratio, or the time where that of the plain one is unknown."""
    return f"{row['ratio']:.2f}" if "ratio" in row else _time_text(row.get("ms"))
