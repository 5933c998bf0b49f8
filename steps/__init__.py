"""Pipeline steps, by stage. Each unpacks its artifacts, calls tuneline, logs and returns; nothing is decided here."""
