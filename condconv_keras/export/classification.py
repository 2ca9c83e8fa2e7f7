"""Export of classifiers: probabilities, softmax inside."""

from condconv_keras.export.check.classifier_answers import ClassifierAnswers
from condconv_keras.export.task import ExportTask
from condconv_keras.export.tflite.graph import TFLiteGraph
from condconv_keras.stored.litert import OUTPUT
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

classifier = LazyModule("condconv_keras.export.saved_model.classifier")


class ClassifierExport(ExportTask):
    """The answers are probabilities."""

    def endpoints(self, model, card, class_names):
        return classifier.endpoints(model, card, class_names)

    def converted_outputs(self, outputs, quantize):
        return {"logits": outputs} if quantize else {OUTPUT: tf.nn.softmax(outputs)}

    def finish(self, content, card, quantize, raw_outputs):
        """Puts a float32 softmax behind int8 logits, which the converter would have made an int8 one."""
        if not quantize:
            return content
        graph = TFLiteGraph(content)
        shape = graph.shape(graph.outputs["logits"])
        (softmax,) = graph.add_operator("SOFTMAX", [graph.outputs["logits"]], {OUTPUT: shape}, beta=1.0)
        graph.set_outputs({OUTPUT: softmax})
        return graph.to_bytes()

    def answers(self, model, card, images):
        return ClassifierAnswers(model, card, images)

    def facts(self, card):
        return {"outputs": {OUTPUT: [len(card.class_names)]}}

    def file_facts(self, file_format, card, raw_outputs):
        return {}

    def write_beside(self, folder, card, raw_outputs):
        pass
