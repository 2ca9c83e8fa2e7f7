"""`report.html`: one page that needs no other file."""

import base64
import html

from condconv_keras.analysis.selection import TOP

_STYLE = """
body { font-family: sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; font-size: 0.9em; }
th, td { border-bottom: 1px solid #ccc; padding: 0.25em 0.7em; text-align: left; vertical-align: top; }
figure { margin: 2em 0; }
img { max-width: 100%; }
"""


def report_html(summary, top_layer, class_names, pictures, over_epochs=None):
    """Returns the page.

    Args:
        summary: dict as of `Analysis.summary`.
        top_layer: `LayerStatistics` of the layer whose top classes are listed.
        class_names: sequence of strings.
        pictures: list of (caption, PNG file as bytes).
        over_epochs: one more, of the run's epochs, or None.
    """
    title = f"Routing of {summary['model']}"
    facts = [
        ("model", summary["model"]),
        ("data set", f"{summary['dataset']}, {summary['examples']} examples of {summary['split']}"),
        ("classes with images", summary["classes"]),
        ("class-specificity of labels at random", f"{summary['chance_specificity']:.4f}"),
    ]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _table(None, facts),
        "<h2>Layers, input first</h2>",
        _table(list(summary["layers"][0]), [[_cell(v) for v in row.values()] for row in summary["layers"]]),
        *(_figure(caption, png) for caption, png in pictures),
        *([] if over_epochs is None else ["<h2>Over the epochs</h2>", _figure(*over_epochs)]),
        f"<h2>Classes with the highest mean weight of each expert of {html.escape(top_layer.name)}</h2>",
        _table(["expert", "classes"], _top_rows(top_layer, class_names)),
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _figure(caption, png):
    caption = html.escape(caption)
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def _top_rows(layer, class_names):
    for expert, classes in enumerate(layer.top_classes(TOP)):
        yield expert, ", ".join(f"{class_names[i]} {layer.mean[i, expert]:.2f}" for i in classes)


def _cell(value):
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else value


def _table(header, rows):
    lines = [] if header is None else [_row("th", header)]
    return "\n".join(["<table>", *lines, *(_row("td", row) for row in rows), "</table>"])


def _row(tag, cells):
    return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
