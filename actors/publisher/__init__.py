"""The last gate before the wire, and the actor that publishes through it."""
