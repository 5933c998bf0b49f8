"""What clients talk to: keys, the OpenAI-shaped surface, routing to a version, the streaming proxy."""
