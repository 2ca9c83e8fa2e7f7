"""`make verify-arm`: exported files on an emulated ARM processor."""
