"""The runtime on Ray: the one class that it runs, where it is started, and how actors find and end each other."""
