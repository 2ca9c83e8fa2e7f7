"""The SavedModel: a model for a server, with everything inside."""
