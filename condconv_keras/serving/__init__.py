"""What a network needs outside Keras: one trace with all that is served of it, signatures, `.tflite` files."""
