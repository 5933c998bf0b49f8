"""One OpenTelemetry span per request, for those who say where to: ``OTEL_EXPORTER_OTLP_ENDPOINT`` (OTLP over HTTP).

Everything else is the SDK's own, by its standard variables: headers, resource attributes, the sampler, the service's
name. A client's ``traceparent`` (W3C) is continued, and the engine gets the span's. No span holds a prompt or answer.
Without the variable OpenTelemetry is not even imported.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from serving.gateway.observe import Record

_STOP_SECONDS = 3.0
_OPERATIONS = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}


class Traces:
    """Makes the spans and sends them in batches, from a thread of the SDK's."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._endpoint = endpoint
        name = os.environ.get("OTEL_SERVICE_NAME", f"tuneline-{endpoint}")
        # Its own hook would wait for the collector at the process's end, which is ours to time.
        self._provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tuneline.gateway")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, record: Record, method: str, headers: Mapping[str, str]) -> Span:
        """Open a request's span, below the client's if it sent one, and note in ``record`` what the engine gets."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        context = self._propagator.extract({name: headers[name] for name in _W3C if name in headers})
        span = self._tracer.start_span(
            record.path,
            context,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": record.path},
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        record.traceparent = carrier.get("traceparent")
        return span

    def end(self, span: Span, record: Record, status: int) -> None:
        """Close it with what became of the request. Names are those of OpenTelemetry's conventions for generative AI
        (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/) where these have one.
        """
        from opentelemetry.trace import StatusCode

        outcome, question = record.outcome, record.question
        found: dict[str, Any] = {
            "http.response.status_code": status,
            "tuneline.request_id": record.request_id,
            "tuneline.key": record.key,
            "tuneline.version": record.version or None,
        }
        if record.path in _OPERATIONS:
            found |= {
                "gen_ai.operation.name": _OPERATIONS[record.path],
                "gen_ai.provider.name": "vllm",
                "gen_ai.request.model": self._endpoint,
            }
        if question is not None:
            request = question.request
            found |= {
                "gen_ai.request.temperature": request.temperature,
                "gen_ai.request.max_tokens": request.max_tokens,
                "gen_ai.request.choice.count": request.n,
            }
        if outcome is not None:
            found |= {
                "gen_ai.response.model": f"{self._endpoint}@{outcome.version}",
                "gen_ai.response.finish_reasons": outcome.finish_reasons or None,
                "gen_ai.usage.input_tokens": outcome.prompt_tokens,
                "gen_ai.usage.output_tokens": outcome.completion_tokens,
                "tuneline.role": outcome.role,
                "tuneline.cached": outcome.cached,
                "tuneline.ttft_ms": outcome.ttft_ms,
            }
        span.set_attributes({name: value for name, value in found.items() if value is not None})
        if status >= 500:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", str(status))
        span.end()

    def stop(self) -> None:
        """Send what waits, for at most three seconds. Blocks."""
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(_STOP_SECONDS)


_W3C = ("traceparent", "tracestate")


def traces_of(endpoint: str) -> Traces | None:
    """The traces that the environment asks for; None if it does not."""
    wanted = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return Traces(endpoint) if wanted and not off else None
