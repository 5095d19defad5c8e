"""The composition root: command line, settings, logging, demo plant, bench, deployment and documents."""
