"""Published weights of other code bases, a file per format."""
