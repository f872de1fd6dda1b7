"""`--format adapterhub`: bottleneck adapters on T5 or mT5 for AdapterHub's library `adapters`."""
