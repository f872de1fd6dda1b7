"""`--format onnx`: encoder and decoder graphs of the T5 family."""
