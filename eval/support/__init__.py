"""What the evaluations share."""
