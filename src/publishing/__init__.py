"""Copies of a sweep's records in the trackers of others: TensorBoard, MLflow, Weights & Biases."""
