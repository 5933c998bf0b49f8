"""How tuneline's artifacts are kept in a stack's artifact store, each with a page for the dashboard."""
