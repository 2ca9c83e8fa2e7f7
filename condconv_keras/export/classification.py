"""Export of classifiers: probabilities, softmax inside."""

from condconv_keras.export.tasks import ExportTask
from condconv_keras.stored.litert import OUTPUT


class _Classification(ExportTask):
    def endpoints(self, model, card, class_names):
        from condconv_keras.export.saved_model.classifier import endpoints

        return endpoints(model, card, class_names)

    def converted_outputs(self, outputs, quantize):
        import tensorflow as tf

        return {"logits": outputs} if quantize else {OUTPUT: tf.nn.softmax(outputs)}

    def finish(self, content, card, quantize, raw_outputs):
        """Puts a float32 softmax behind int8 logits, which the converter would have made an int8 one."""
        if not quantize:
            return content
        from condconv_keras.export.tflite.graph import TFLiteGraph

        graph = TFLiteGraph(content)
        shape = graph.shape(graph.outputs["logits"])
        (softmax,) = graph.add_operator("SOFTMAX", [graph.outputs["logits"]], {OUTPUT: shape}, beta=1.0)
        graph.set_outputs({OUTPUT: softmax})
        return graph.to_bytes()

    def answers(self, model, card, images):
        from condconv_keras.export.check.gate import ClassifierAnswers

        return ClassifierAnswers(model, card, images)

    def facts(self, card):
        return {"outputs": {OUTPUT: [len(card.class_names)]}}

    def file_facts(self, mode, card, raw_outputs):
        return {}

    def write_beside(self, folder, card, raw_outputs):
        pass


TASK = _Classification()
