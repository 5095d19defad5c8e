"""Who starts whom: child specs, restart policy, the tree and the runtime that carries it."""
