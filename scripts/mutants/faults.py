"""The one-token faults that a Python text can have: an operator, a constant, an axis, a dropped term."""

import ast
import bisect
import dataclasses
import io
import itertools
import tokenize
import types

KINDS = ("operator", "constant", "axis", "term")

_OPERATORS = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*"}
_OPERATORS.update({f"{old}=": f"{new}=" for old, new in _OPERATORS.items()})
_OPERATORS.update({"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "and": "or", "or": "and"})
_EXTREMES = ("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("reduce_min", "reduce_max")
_NAMES = {old: new for pair in _EXTREMES for old, new in (pair, pair[::-1])}
_AXES = ("axis", "axes")
# What computes nothing, and what a message says.
_SKIPPED_FIELDS = ("annotation", "returns", "type_params")
_SKIPPED_NODES = (ast.Raise, ast.JoinedStr)
# What only keeps a programmer from a slip.
_SKIPPED_KEYWORDS = ("frozen", "strict")


@dataclasses.dataclass(frozen=True, order=True)
class Mutation:
    """A fault in a text.

    Attributes:
        start: number of the first character that is replaced, from 0.
        end: number of the character after the last one.
        new: what stands there instead.
        kind: one of `KINDS`.
    """

    start: int
    end: int
    new: str
    kind: str

    def apply(self, text):
        """Returns the text with the fault."""
        return text[: self.start] + self.new + text[self.end :]

    def lines(self, text):
        """Returns the number of the first line that differs, from 1, and these lines without and with the fault."""
        first = text.rfind("\n", 0, self.start) + 1
        last = text.find("\n", self.end)
        last = len(text) if last < 0 else last
        return (
            text.count("\n", 0, self.start) + 1,
            text[first:last].strip(),
            (text[first : self.start] + self.new + text[self.end : last]).strip(),
        )

    def is_felt(self, text):
        """Whether the text with the fault compiles, to a program that is another one."""
        try:
            return _program(self.apply(text)) != _program(text)
        except SyntaxError:
            return False


def mutations(text):
    """Returns the list of all faults of a text, in its order.

    Type annotations, strings and what joins them or paths, what is raised and `if __name__ == ...` have none.
    """
    finder = _Finder(text)
    finder.visit(ast.parse(text))
    return sorted(set(finder.found))


class _Finder(ast.NodeVisitor):
    """Gathers the faults of a tree's nodes in `found`."""

    def __init__(self, text):
        self.found = []
        self._text = text
        self._lines = text.splitlines(keepends=True)
        self._line_starts = [0, *itertools.accumulate(map(len, self._lines))]
        tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.string in _OPERATORS]
        self._tokens = [(self._line_starts[token.start[0] - 1] + token.start[1], token.string) for token in tokens]
        self._on_axis = set()

    def generic_visit(self, node):
        for field, value in ast.iter_fields(node):
            if field not in _SKIPPED_FIELDS:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST) and not isinstance(child, _SKIPPED_NODES):
                        self.visit(child)

    def visit_If(self, node):
        if "__name__" not in {name.id for name in ast.walk(node.test) if isinstance(name, ast.Name)}:
            self.generic_visit(node)

    def visit_BinOp(self, node):
        if not _is_text(node):
            self._swap_operator(node.left, node.right)
            if isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
                self._drop_term(node)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        self._swap_operator(node.target, node.value)
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        for left, right in itertools.pairwise(node.values):
            self._swap_operator(left, right)
        self.generic_visit(node)

    def visit_Compare(self, node):
        for left, right in itertools.pairwise([node.left, *node.comparators]):
            self._swap_operator(left, right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if id(node) in self._on_axis:
            return self._change_axis(node)
        length = {ast.Not: len("not "), ast.USub: len("-")}.get(type(node.op))
        if length:
            start = self._start(node)
            self._add(start, start + length, "", "operator")
        return self.generic_visit(node)

    def visit_Constant(self, node):
        if id(node) in self._on_axis:
            self._change_axis(node)
        elif isinstance(node.value, bool):
            self._add(self._start(node), self._end(node), repr(not node.value), "constant")
        elif isinstance(node.value, int | float):
            self._add(self._start(node), self._end(node), repr(node.value + 1), "constant")

    def visit_Name(self, node):
        if node.id in _NAMES and isinstance(node.ctx, ast.Load):
            self._add(self._start(node), self._end(node), _NAMES[node.id], "operator")

    def visit_Attribute(self, node):
        if node.attr in _NAMES and isinstance(node.ctx, ast.Load):
            self._add(self._end(node) - len(node.attr), self._end(node), _NAMES[node.attr], "operator")
        self.generic_visit(node)

    def visit_keyword(self, node):
        if node.arg in _AXES:
            self._mark_axis(node.value)
        if node.arg not in _SKIPPED_KEYWORDS:
            self.generic_visit(node)

    def visit_arguments(self, node):
        named = zip(reversed([*node.posonlyargs, *node.args]), reversed(node.defaults), strict=False)
        for argument, default in (*named, *zip(node.kwonlyargs, node.kw_defaults, strict=True)):
            if argument.arg in _AXES and default is not None:
                self._mark_axis(default)
        self.generic_visit(node)

    def _mark_axis(self, node):
        self._on_axis.update(map(id, node.elts if isinstance(node, ast.Tuple | ast.List) else [node]))

    def _change_axis(self, node):
        try:
            axis = ast.literal_eval(node)
        except ValueError:
            return
        if type(axis) is int:
            for new in {0, 1} - {axis} if axis < 0 else {int(axis == 0)}:
                self._add(self._start(node), self._end(node), str(new), "axis")

    def _swap_operator(self, left, right):
        position, operator = self._operator_between(left, right)
        if operator:
            self._add(position, position + len(operator), _OPERATORS[operator], "operator")

    def _drop_term(self, node):
        """Drops what stands right of the operator; of a sum or product, what stands left of it, too."""
        position, operator = self._operator_between(node.left, node.right)
        before = len(self._text[:position].rstrip())
        self._add(before, self._end(node), "", "term")
        is_longer = isinstance(node.left, ast.BinOp) and type(node.left.op) is type(node.op)
        if isinstance(node.op, ast.Add | ast.Mult) and not is_longer:
            after = self._text[position + len(operator) :]
            self._add(self._start(node), len(self._text) - len(after.lstrip()), "", "term")

    def _operator_between(self, left, right):
        """The position and text of the operator between two nodes, or (None, None) if it has no counterpart."""
        first = bisect.bisect_left(self._tokens, (self._end(left), ""))
        found = self._tokens[first : first + 1]
        return found[0] if found and found[0][0] < self._start(right) else (None, None)

    def _add(self, start, end, new, kind):
        self.found.append(Mutation(start, end, new, kind))

    def _start(self, node):
        return self._position(node.lineno, node.col_offset)

    def _end(self, node):
        return self._position(node.end_lineno, node.end_col_offset)

    def _position(self, line, column):
        """The number of a character; the columns of a tree are in bytes."""
        return self._line_starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def _is_text(node):
    """Whether an expression joins strings or the parts of a path."""
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _program(text):
    return _without_places(compile(text, "", "exec", dont_inherit=True))


def _without_places(code):
    """What a code object does: all but the lines and columns of its text."""
    constants = [_without_places(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_exceptiontable, constants
