"""One module per migration; frozen once released."""
