"""What others would put in our place, at its best; each runs in the serving environment."""
