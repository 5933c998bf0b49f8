"""Traces: one span per request to the collector that the environment names, and none without one."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stacks.deployer.start import serving_environment
from tests.serving.conftest import Running, wait_until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """A collector of OpenTelemetry's, as small as can be: OTLP over HTTP, spans kept as they come."""

    def __init__(self) -> None:
        self.spans: list[tuple[dict[str, Any], Any]] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                assert self.path == "/v1/traces"
                collector.bodies.append(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    about = attributes(resource.resource)
                    collector.spans += [(about, span) for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def span(self, request_id: str) -> Any:
        def found() -> Any:
            return [span for _, span in self.spans if attributes(span).get("tuneline.request_id") == request_id]

        (only,) = wait_until(found, "the span")
        return only


def attributes(holder: Any) -> dict[str, Any]:
    def value(held: Any) -> Any:
        kind = held.WhichOneof("value")
        return [value(item) for item in held.array_value.values] if kind == "array_value" else getattr(held, kind)

    return {item.key: value(item.value) for item in holder.attributes}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()


@pytest.fixture
def traced(endpoint: Running, collector: Collector) -> Running:
    host, port = collector.server.server_address[:2]
    endpoint.env |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host!s}:{port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    endpoint.release({"1": "one"}, "1")
    return endpoint.start().ready()


def sent_to_engine(running: Running, request_id: str) -> dict[str, str]:
    headers: dict[str, str] = next(
        seen["headers"] for seen in running.engine_saw() if seen.get("headers", {}).get("x-request-id") == request_id
    )
    return headers


def test_a_request_is_one_span_below_the_clients_and_above_the_engines(traced: Running, collector: Collector) -> None:
    with_parent = {"x-request-id": "mine", "traceparent": PARENT}
    traced.ask(headers=with_parent, max_tokens=3, temperature=0.5)
    span = collector.span("mine")
    assert span.name == "/v1/chat/completions"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == tuple(PARENT.split("-")[1:3])
    assert sent_to_engine(traced, "mine")["traceparent"] == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
    found = attributes(span)
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "tiny",
        "gen_ai.request.max_tokens": 3,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "tiny@1",
        "gen_ai.response.finish_reasons": ["length"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "http.response.status_code": 200,
        "tuneline.key": "k-all",
        "tuneline.version": "1",
        "tuneline.role": "production",
    }.items() <= found.items()
    resource = collector.spans[0][0]
    assert (resource["service.name"], resource["deployment.environment"]) == ("tuneline-tiny", "test")

    traced.ask(headers={"x-request-id": "own"})
    assert collector.span("own").parent_span_id == b""
    traced.ask(None, {"x-request-id": "refused"})
    assert attributes(collector.span("refused"))["http.response.status_code"] == 401
    traced.tell("fail-one")
    traced.ask(headers={"x-request-id": "broken"})
    assert collector.span("broken").status.code == 2
    traced.untell("fail-one")
    # nothing of what was said, and no probe
    assert not [body for body in collector.bodies if b"list pods" in body or b"lora-" in body]
    assert not [span for _, span in collector.spans if span.name in ("/livez", "/readyz", "/metrics")]

    traced.ask(headers={"x-request-id": "last"})
    traced.stop()
    traced.process = None
    assert [span for _, span in collector.spans if attributes(span)["tuneline.request_id"] == "last"]


def test_a_collector_that_is_away_holds_up_neither_an_answer_nor_the_stop(endpoint: Running) -> None:
    endpoint.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    assert endpoint.ask().elapsed.total_seconds() < 5
    endpoint.stop()
    assert endpoint.process is not None and endpoint.process.returncode == 0
    endpoint.process = None


def test_the_deployer_passes_the_variables_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=b")
    assert serving_environment((), {})["OTEL_EXPORTER_OTLP_HEADERS"] == "a=b"


def test_without_the_variable_the_clients_trace_context_stays_here(served: Running) -> None:
    served.ask(headers={"x-request-id": "untraced", "traceparent": PARENT})
    assert "traceparent" not in sent_to_engine(served, "untraced")
