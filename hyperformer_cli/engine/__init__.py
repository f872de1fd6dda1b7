"""What training, few-shot transfer, evaluation and prediction share: devices, steps, loss, decoding, scoring."""
