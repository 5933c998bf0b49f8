"""Who gets a place in the engine: limits per key and minute, and a bounded queue before it."""

from serving.gateway.admission.admit import Admission, Ticket

__all__ = ["Admission", "Ticket"]
