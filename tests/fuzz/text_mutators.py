"""Mutators of tables, of annotations in XML, and of command lines."""

from tests.fuzz.mutators import named, of_files, of_texts

FLAGS = "flags.txt"


# Tables.
def _of_lines(change):
    """Decorates a function of the lines of a table and of the random numbers that returns others."""

    def changed_lines(text, rng):
        lines = text.splitlines()
        return "\n".join(change(lines, rng)) + "\n" if lines else None

    return of_texts(".csv")(named(changed_lines, change))


@_of_lines
def semicolons(lines, rng):
    return [line.replace(",", ";") for line in lines]


@_of_lines
def tabs(lines, rng):
    return [line.replace(",", "\t") for line in lines]


@_of_lines
def a_line_that_says_the_separator(lines, rng):
    return ["sep=;", *(line.replace(",", ";") for line in lines)]


@_of_lines
def quoted(lines, rng):
    return [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]


@_of_lines
def decimal_commas(lines, rng):
    return [line.replace("0.25", '"0,25"') for line in lines]


@_of_lines
def spaces_around_cells(lines, rng):
    return [line.replace(",", " , ") for line in lines]


@_of_lines
def empty_cells_at_the_end(lines, rng):
    return [f"{line},,," for line in lines]


@_of_lines
def a_blank_row(lines, rng):
    at = rng.randrange(1, len(lines) + 1)
    return [*lines[:at], ",,,,", *lines[at:]]


@_of_lines
def another_column(lines, rng):
    return [f"{line},{'note' if i == 0 else i}" for i, line in enumerate(lines)]


@_of_lines
def a_column_less(lines, rng):
    return [line.rpartition(",")[0] for line in lines]


@_of_lines
def columns_in_another_order(lines, rng):
    return [",".join(reversed(line.split(","))) for line in lines]


@_of_lines
def a_row_twice(lines, rng):
    return [*lines, *lines[-1:]]


@_of_lines
def an_open_quote(lines, rng):
    return [*lines[:-1], '"' + lines[-1]]


@_of_lines
def a_line_end_in_a_cell(lines, rng):
    return [*lines[:-1], '"a\nb",' + lines[-1].partition(",")[2]]


@_of_lines
def a_line_end_in_a_name(lines, rng):
    return [lines[0].replace("model", '"mo\ndel"'), *lines[1:]]


@_of_lines
def no_rows(lines, rng):
    return lines[:1]


@_of_lines
def the_null_character(lines, rng):
    return [*lines[:-1], lines[-1] + "\0"]


@_of_lines
def an_open_quote_in_the_flags(lines, rng):
    return [*lines[:-1], lines[-1] + "'"]


# XML.
@of_texts(".xml")
def drop_a_line(text, rng):
    lines = text.splitlines()
    dropped = rng.randrange(len(lines)) if lines else 0
    return "\n".join(line for i, line in enumerate(lines) if i != dropped)


@of_texts(".xml")
def swap_edges(text, rng):
    return text.replace("xmin", "?").replace("xmax", "xmin").replace("?", "xmax")


@of_texts(".xml")
def a_comment(text, rng):
    return text.replace("<object>", "<!-- a --><object>")


@of_texts(".xml")
def fractions(text, rng):
    return text.replace("</xmin>", ".5</xmin>")


@of_texts(".xml")
def a_word_for_a_number(text, rng):
    return text.replace("<ymin>", f"<ymin>{rng.choice(('nan', 'x', '1e999', ' ', '-'))}", 1)


@of_texts(".xml")
def spaces_around_text(text, rng):
    return text.replace("<name>", "<name>\n    ").replace("</name>", "  </name>")


@of_texts(".xml")
def an_entity(text, rng):
    return '<!DOCTYPE annotation [<!ENTITY animal "cat">]>' + text.replace("cat", "&animal;", 1)


@of_texts(".xml")
def entities_that_grow(text, rng):
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x"}">' for i in range(12))
    return f"<!DOCTYPE annotation [{entities}]>" + text.replace("cat", "&e11;", 1).replace("dog", "&e11;", 1)


@of_texts(".xml")
def another_encoding(text, rng):
    return f'<?xml version="1.0" encoding="{rng.choice(("latin-1", "utf-8", "utf-7", "nothing", "utf-16"))}"?>' + text


@of_texts(".xml")
def another_stated_size(text, rng):
    return text.replace("<width>16", f"<width>{rng.choice((0, -1, 15, 1e400, 'x', ''))}", 1)


@of_texts(".xml")
def sides_exchanged(text, rng):
    return text.replace("width>", "?>").replace("height>", "width>").replace("?>", "height>")


# Command lines: a flag a line.
def _of_flags(change):
    """Decorates a function of the arguments, of the place of one, and of the random numbers that returns others."""

    def changed_flags(path, rng):
        arguments = path.read_text("utf-8", "replace").splitlines()
        if path.name != FLAGS or not arguments:
            return False
        path.write_text("\n".join(change(arguments, rng.randrange(len(arguments)), rng)) + "\n", "utf-8")

    return of_files(".txt")(named(changed_flags, change))


@_of_flags
def a_letter_less(arguments, at, rng):
    return [a[:-1] if i == at else a for i, a in enumerate(arguments)]


@_of_flags
def a_flag_twice(arguments, at, rng):
    return [*arguments, *arguments[at : at + 1]]


@_of_flags
def one_dash(arguments, at, rng):
    return [a.replace("--", "-", 1) if i == at else a for i, a in enumerate(arguments)]


@_of_flags
def no_dash(arguments, at, rng):
    return [a.removeprefix("--") if i == at else a for i, a in enumerate(arguments)]


@_of_flags
def a_value_of_its_own_word(arguments, at, rng):
    return [word for i, a in enumerate(arguments) for word in (a.split("=", 1) if i == at else [a])]


@_of_flags
def another_value(arguments, at, rng):
    values = (
        "",
        "0",
        "-1",
        "1.5",
        "1e400",
        "nan",
        "yes",
        "é",
        "None",
        "64",
        "2",
        "0.5",
        "9" * 30,
        "0x10",
        "1_0",
        "'2'",
    )
    return [f"{a.partition('=')[0]}={rng.choice(values)}" if i == at else a for i, a in enumerate(arguments)]


@_of_flags
def a_flag_less(arguments, at, rng):
    return [a for i, a in enumerate(arguments) if i != at]


@_of_flags
def a_flag_that_there_is_not(arguments, at, rng):
    return [*arguments, rng.choice(("--learning_rates=1", "--x", "--noseed", "--noseed=1", "--", "-", "--=1"))]


@_of_flags
def another_flag(arguments, at, rng):
    return [*arguments, rng.choice(("--momentum=0.5", "--momentum=1", "--ema_decay=0.9", "--freeze_epochs=3"))]


@_of_flags
def another_order_of_flags(arguments, at, rng):
    return arguments[at:] + arguments[:at]
