"""The `.tflite` files: a model for a phone."""
