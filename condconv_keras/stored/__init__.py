"""Models as they are stored: a run folder, a `.keras` file, a SavedModel, a `.tflite` file."""
