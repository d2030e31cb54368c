"""What is sent to MLflow, and what was already sent."""
