"""The engine behind the gateway: how it is started, supervised and given adapters."""
