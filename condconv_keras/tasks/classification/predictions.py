"""The predictions of a classifier: the most probable classes of each image."""

from condconv_keras.tasks.predictions import Predictions


class ClassPredictions(Predictions):
    """A list of (path, [(class index, class name, probability), ...]), most probable first."""

    options = ("top_k",)

    def collect(self, card, answers, options):
        return [(path, card.most_probable(probabilities, options["top_k"])) for path, _, probabilities in answers]

    def to_json(self, predictions):
        return [
            {"image": str(path), "classes": [{"index": i, "name": name, "probability": p} for i, name, p in top]}
            for path, top in predictions
        ]

    def to_csv(self, predictions):
        yield ["image", "rank", "index", "class", "probability"]
        for path, top in predictions:
            for rank, (i, name, p) in enumerate(top, start=1):
                yield [path, rank, i, name, f"{p:.6f}"]

    def to_rows(self, predictions):
        return [(path, "  ".join(f"{name} {p:.3f}" for _, name, p in top)) for path, top in predictions]
