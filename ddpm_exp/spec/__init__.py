"""What an experiment says: frozen Pydantic classes, rules, the GPU catalogue. No torch, no device query, no I/O."""
