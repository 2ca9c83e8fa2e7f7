"""SavedModels as the exporter writes them, without the check of the export, which takes its time."""

from condconv_keras.export.manifest import write_cards
from condconv_keras.export.saved_model.writing import write_saved_model
from condconv_keras.models.saved_networks import EXTRA
from condconv_keras.utils.files import content_hash


def write_exported(folder, model, card):
    """Writes `folder/saved_model` with its card; returns its path."""
    path = folder / "saved_model"
    write_saved_model(model, card, path)
    write_cards(folder, card, {"files": [{"file": path.name, "sha256": content_hash(path, EXTRA)}]})
    return path
