"""The `.tflite` files as export formats: one for each quantization."""

from typing import ClassVar

from condconv_keras.export.format import ExportFormat
from condconv_keras.export.tflite.metadata import with_metadata
from condconv_keras.serving.litert import ROUTING, LiteRTFile
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.lazy import LazyModule

conversion = LazyModule("condconv_keras.export.tflite.conversion")
eight_bits = LazyModule("condconv_keras.export.tflite.eight_bits")


class TFLite(ExportFormat):
    """A file for LiteRT: `condconv_keras.export.tflite.conversion` says what is in it and what a quantization means."""

    packages = ("ai_edge_litert", "flatbuffers")
    is_default = True
    flags: ClassVar[tuple[str, ...]] = (
        "quantization",
        "static_kernels",
        "raw_outputs",
        "batch_size",
        "metadata",
        "routing_outputs",
    )
    # LiteRT shares the work out differently, and XNNPACK has other kernels, for one thread and for several.
    threads = (1, 4)

    def write(self, path, model, card, options):
        content = conversion.tflite_bytes(
            model,
            card,
            self.quantization,
            options.representative if self.is_calibrated else None,
            options.static_kernels,
            options.int8_input,
            options.raw_outputs,
            options.batch_size,
            options.routing_outputs,
            options.budget,
        )
        path.write_bytes(with_metadata(content, card) if options.metadata else content)

    def predictor(self, path, model, card, threads=None):
        return StoredModel.open(path).predictor(threads).predict

    def raw_outputs(self, path, model, card, images, threads=None):
        return get_task(card.task).tflite_raw_outputs(path, images, threads)

    def routing_weights(self, path, images, threads=None):
        return _routed(LiteRTFile(path, threads).run(images))

    def routers(self, path):
        return {name: tensor.shape[-1] for name, tensor in _routed(LiteRTFile(path).outputs).items()}

    def input(self, path):
        file = LiteRTFile(path)
        tensor = file.input
        facts = {"dtype": tensor.dtype.name, "batch": file.batch_size}
        return {**facts, **({"scale": tensor.scale, "zero_point": tensor.zero_point} if tensor.scale else {})}


class EightBitTFLite(TFLite):
    """A file with weights of 8 bits, which are rounded by what their layers see of representative images."""

    flags = (*TFLite.flags, "representative_data", "float_bytes", "float_multiply_adds")

    def float_layers(self, path):
        return eight_bits.float_layers_of(path.read_bytes())


class CalibratedTFLite(EightBitTFLite):
    """A file whose activations are quantized by the ranges that they have for representative images."""

    flags = (*EightBitTFLite.flags, "int8_input")


def _routed(outputs):
    """What belongs to routers among outputs by name, by the name of the router."""
    return {name.removeprefix(ROUTING): value for name, value in outputs.items() if name.startswith(ROUTING)}
