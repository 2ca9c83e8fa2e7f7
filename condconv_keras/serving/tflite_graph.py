"""Changes the graph of a `.tflite` file: what the converter cannot be made to write."""

import dataclasses
from typing import Any

import numpy as np

from condconv_keras.utils.lazy import LazyModule

flatbuffer_utils = LazyModule("tensorflow.lite.tools.flatbuffer_utils")


@dataclasses.dataclass(frozen=True, eq=False)
class Operator:
    """An operator of a graph.

    Attributes:
        name: of a builtin operator, such as `"CONV_2D"`, or `"CUSTOM"`.
        inputs: tuple of its tensors; -1 where an optional one is missing.
        outputs: tuple of its tensors.
        record: the flatbuffer's object.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    record: Any


class TFLiteGraph:
    """The graph of a `.tflite` file with one signature, whose operators and constants can be changed.

    Tensors are named by their index in the graph.

    Args:
        content: bytes of the file.
    """

    def __init__(self, content):
        self._schema = flatbuffer_utils.schema_fb
        self._file = flatbuffer_utils.read_model_from_bytearray(content)
        self._graph = self._file.subgraphs[0]

    @property
    def outputs(self):
        """Dict of the signature's output names to tensors."""
        return {_text(output.name): output.tensorIndex for output in self._file.signatureDefs[0].outputs}

    def shape(self, tensor):
        """The shape of a tensor, a list of ints."""
        return list(self._graph.tensors[tensor].shape)

    def rename(self, tensor, name):
        """Gives a tensor another name."""
        self._graph.tensors[tensor].name = name.encode()

    def find(self, name):
        """The tensor of a name; raises ValueError if there is none."""
        return [_text(tensor.name) for tensor in self._graph.tensors].index(name)

    def name(self, tensor):
        """The name of a tensor."""
        return _text(self._graph.tensors[tensor].name)

    @property
    def operators(self):
        """List of every `Operator` in the order of execution."""
        builtin = {value: name for name, value in vars(self._schema.BuiltinOperator).items() if isinstance(value, int)}
        codes = [builtin[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in self._file.operatorCodes]
        return [
            Operator(codes[record.opcodeIndex], *(tuple(map(int, x)) for x in (record.inputs, record.outputs)), record)
            for record in self._graph.operators
        ]

    def values(self, tensor):
        """The values of a float32 constant, an array, or None for a tensor of another kind."""
        tensor = self._graph.tensors[tensor]
        data = self._file.buffers[tensor.buffer].data
        if data is None or not len(data) or tensor.type != self._schema.TensorType.FLOAT32:
            return None
        return np.frombuffer(data, np.float32).reshape([int(size) for size in tensor.shape])

    def is_int8(self, tensor):
        """Whether a tensor holds int8."""
        return self._graph.tensors[tensor].type == self._schema.TensorType.INT8

    def quantization(self, tensor):
        """The scale and the zero point of a tensor that has one of each, else None."""
        found = self._graph.tensors[tensor].quantization
        if found is None or found.scale is None or len(found.scale) != 1:
            return None
        return float(found.scale[0]), int(found.zeroPoint[0])

    def add_constant(self, name, values, scales=None, axis=0):
        """Adds a constant; returns its tensor.

        Args:
            name: of the tensor.
            values: array of float32, float16, int32 or int8.
            scales: float32 array of those of integers along an `axis`, or None; their zero points are 0.
            axis: see `scales`.
        """
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._file.buffers.append(buffer)
        tensor = self._add_tensor(name, values.shape, len(self._file.buffers) - 1, values.dtype.name)
        if scales is not None:
            parameters = self._schema.QuantizationParametersT()
            parameters.scale, parameters.zeroPoint = np.float32(scales), np.zeros(len(scales), np.int64)
            parameters.quantizedDimension = axis
            self._graph.tensors[tensor].quantization = parameters
        return tensor

    def set_input(self, operator, index, tensor):
        """Makes an `Operator` read another tensor as one of its inputs."""
        operator.record.inputs = [tensor if i == index else old for i, old in enumerate(operator.record.inputs)]

    def set_version(self, operator, version):
        """Gives an `Operator` a version, by which runtimes that are too old for what it computes refuse the file."""
        code = self._file.operatorCodes[operator.record.opcodeIndex]
        new = self._schema.OperatorCodeT()
        vars(new).update({**vars(code), "version": version})
        known = [vars(each) for each in self._file.operatorCodes]
        if vars(new) not in known:
            self._file.operatorCodes.append(new)
            known.append(vars(new))
        operator.record.opcodeIndex = known.index(vars(new))

    def add_operator(self, name, inputs, outputs, custom_options=None, first=False, version=1, **options):
        """Adds an operator at the end.

        Args:
            name: of a builtin operator (`"SOFTMAX"`), or of a custom one if there are `custom_options`.
            inputs: list of tensors.
            outputs: dict of the names of the tensors that it puts out to their shapes.
            custom_options: bytes, or None.
            first: whether it is the first operator.
            version: of a builtin operator.
            options: fields of a builtin operator's options.

        Returns:
            List of the new tensors.
        """
        schema = self._schema
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.version = version
        code.builtinCode = getattr(schema.BuiltinOperator, "CUSTOM" if custom_options else name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        if custom_options:
            code.customCode = name.encode()
            operator.customOptions = np.frombuffer(custom_options, np.uint8)
        elif options:
            kind = f"{name.title()}Options"
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, f"{kind}T")()
            vars(operator.builtinOptions).update(options)
        operator.opcodeIndex = len(self._file.operatorCodes)
        operator.inputs = list(inputs)
        # Buffer 0 is the empty one.
        operator.outputs = [self._add_tensor(tensor, shape, 0) for tensor, shape in outputs.items()]
        self._file.operatorCodes.append(code)
        self._graph.operators.insert(0 if first else len(self._graph.operators), operator)
        return operator.outputs

    def add_metadata(self, name, content):
        """Adds what the file says of itself, bytes, under a name that its readers look for."""
        entry, buffer = self._schema.MetadataT(), self._schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry.name, entry.buffer = name.encode(), len(self._file.buffers)
        self._file.buffers.append(buffer)
        self._file.metadata = [*(self._file.metadata or []), entry]

    def metadata(self, name):
        """What the file says of itself under a name, bytes, or None."""
        for entry in self._file.metadata or ():
            if _text(entry.name) == name:
                return bytes(self._file.buffers[entry.buffer].data)
        return None

    def set_outputs(self, outputs):
        """Makes the signature return other tensors, a dict of name to tensor, and drops the operators after them."""
        signature = []
        for name, tensor in outputs.items():
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), tensor
            signature.append(entry)
        self._file.signatureDefs[0].outputs = signature
        self._graph.outputs = list(outputs.values())
        self._drop_unused_operators()

    def to_bytes(self):
        """Returns the file, without operators and constants that nothing reads."""
        needed = self._drop_unused_operators()
        used = {self._graph.tensors[tensor].buffer for tensor in needed}
        # Loops and branches lie in graphs of their own.
        used.update(tensor.buffer for graph in self._file.subgraphs[1:] for tensor in graph.tensors)
        used.update(entry.buffer for entry in self._file.metadata or ())
        for index, buffer in enumerate(self._file.buffers):
            if index not in used:
                buffer.data = None
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._file))

    def _drop_unused_operators(self):
        """Drops the operators that no output needs; returns the set of tensors that are needed."""
        needed, operators = {*self._graph.outputs, *self._graph.inputs}, []
        for operator in reversed(self._graph.operators):
            if needed.intersection(operator.outputs):
                needed.update(tensor for tensor in operator.inputs if tensor >= 0)
                operators.append(operator)
        self._graph.operators = operators[::-1]
        return needed

    def _add_tensor(self, name, shape, buffer, dtype="float32"):
        tensor = self._schema.TensorT()
        tensor.name, tensor.buffer, tensor.shape = name.encode(), buffer, list(shape)
        tensor.type = getattr(self._schema.TensorType, dtype.upper())
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def _text(name):
    return name.decode() if isinstance(name, bytes) else name
