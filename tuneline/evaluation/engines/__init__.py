"""Who answers: transformers in this process (the reference), vLLM with all adapters in one engine, or a server."""
