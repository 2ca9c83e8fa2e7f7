"""Changes the graph of a `.tflite` file: what the converter cannot be made to write."""

import numpy as np

from condconv_keras.utils.lazy import LazyModule

flatbuffer_utils = LazyModule("tensorflow.lite.tools.flatbuffer_utils")


class TFLiteGraph:
    """The graph of a `.tflite` file with one signature, to which float32 operators are added.

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

    def is_int8(self, tensor):
        """Whether a tensor holds int8."""
        return self._graph.tensors[tensor].type == self._schema.TensorType.INT8

    def inputs_of(self, tensor):
        """The inputs of the operator that puts a tensor out, a list of tensors; empty for an input or a constant."""
        return next((list(each.inputs) for each in self._graph.operators if tensor in each.outputs), [])

    def rename(self, tensor, name):
        """Gives a tensor another name."""
        self._graph.tensors[tensor].name = name.encode()

    def find(self, name):
        """The tensor of a name; raises ValueError if there is none."""
        return [_text(tensor.name) for tensor in self._graph.tensors].index(name)

    def add_constant(self, name, values):
        """Adds a constant, an array of float32 or int32; returns its tensor."""
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._file.buffers.append(buffer)
        return self._add_tensor(name, values.shape, len(self._file.buffers) - 1, values.dtype.name)

    def add_operator(self, name, inputs, outputs, custom_options=None, **options):
        """Adds an operator at the end.

        Args:
            name: of a builtin operator (`"SOFTMAX"`), or of a custom one if there are `custom_options`.
            inputs: list of tensors.
            outputs: dict of the names of the tensors that it puts out to their shapes.
            custom_options: bytes, or None.
            options: fields of a builtin operator's options.

        Returns:
            List of the new tensors.
        """
        schema = self._schema
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.version = 1
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
        self._graph.operators.append(operator)
        return operator.outputs

    def add_metadata(self, name, content):
        """Adds what the file says of itself, bytes, under a name that its readers look for."""
        entry, buffer = self._schema.MetadataT(), self._schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry.name, entry.buffer = name.encode(), len(self._file.buffers)
        self._file.buffers.append(buffer)
        self._file.metadata = [*(self._file.metadata or []), entry]

    def set_outputs(self, outputs):
        """Makes the signature return other tensors, a dict of name to tensor, and drops the operators after them."""
        signature = []
        for name, tensor in outputs.items():
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), tensor
            signature.append(entry)
        self._file.signatureDefs[0].outputs = signature
        self._graph.outputs = list(outputs.values())
        needed, operators = set(self._graph.outputs), []
        for operator in reversed(self._graph.operators):
            if needed.intersection(operator.outputs):
                needed.update(operator.inputs)
                operators.append(operator)
        self._graph.operators = operators[::-1]

    def to_bytes(self):
        """Returns the file."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._file))

    def _add_tensor(self, name, shape, buffer, dtype="float32"):
        tensor = self._schema.TensorT()
        tensor.name, tensor.buffer, tensor.shape = name.encode(), buffer, list(shape)
        tensor.type = getattr(self._schema.TensorType, dtype.upper())
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def _text(name):
    return name.decode() if isinstance(name, bytes) else name
