"""What changes in the plant, told as it changes: one look for all who watch, by server-sent events and WebSocket."""
