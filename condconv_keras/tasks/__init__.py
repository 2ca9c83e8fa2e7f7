"""Kinds of model, and what each needs of data, objective, metrics and prediction."""
