"""Suites: from the config to items, and what an item is measured by besides its reference."""
