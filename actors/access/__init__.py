"""The law of access: passwords, back-off, sessions. Pure; who asks and what is stored is somebody else's business."""
