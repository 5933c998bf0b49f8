"""Who gets a place in the engine: limits per key and minute, and a bounded queue before it."""

from serving.gateway.admission.admit import Admission, Ticket
from serving.gateway.admission.queue import Queue

__all__ = ["Admission", "Queue", "Ticket"]
