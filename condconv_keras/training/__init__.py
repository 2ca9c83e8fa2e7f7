"""Training: recipes, run configuration, run folder and the fit itself."""
