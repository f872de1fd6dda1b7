"""Prediction: rows of a stream in, predictions out, in the same order and constant memory."""
