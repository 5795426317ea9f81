"""One small file per command: parse, call one function of a room, print."""
