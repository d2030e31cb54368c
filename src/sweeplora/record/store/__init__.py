"""What MLflow is sent and what it was sent already."""
