"""What the documents claim, measured on the user's own machine beside the bare libraries."""
