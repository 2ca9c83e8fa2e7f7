"""Classification: one label an image."""
