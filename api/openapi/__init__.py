"""The description of REST: made from the routes, completed by what they have in common, shown by a page of our own."""
