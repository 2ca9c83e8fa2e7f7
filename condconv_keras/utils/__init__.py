"""What everything else rests on: errors, files, Keras's private interface, memory. It knows nothing of models."""
