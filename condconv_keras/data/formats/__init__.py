"""Image files read by graph operations, where TensorFlow's decoder alone would give other pixels or none."""
