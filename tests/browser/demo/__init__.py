"""The dashboard over the real tree, in the group of the trees."""
