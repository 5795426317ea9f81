"""One optimizer step and the loop around it. Knows nothing of memory or evaluation."""
