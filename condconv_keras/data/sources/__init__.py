"""Where images and their labels or boxes come from."""
