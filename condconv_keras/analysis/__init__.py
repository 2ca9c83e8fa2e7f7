"""What the experts of a trained network learn: routing statistics of a split, and their figures."""
