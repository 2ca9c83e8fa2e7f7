"""What is known of models, tasks and published weights, as data."""
