"""The life of alarms, and the actor that keeps them."""
