"""A stand-in for vLLM: the part of its API that the gateway uses, on a Unix socket, in a process of its own.

It is started with vLLM's own arguments and writes them, its environment's names and every request it got to
``$STUB_FOLDER/engine-<n>.jsonl``. What it does can be changed while it runs, by files in that folder:

    refuse-start      exit with an error at once
    late-start        a new one does not answer until the file is gone; those that run are not touched
    slow-start        not healthy until the file is gone
    hang              take requests and never answer
    refuse-<adapter>  refuse to load that adapter, by the last part of its path
    die-on-load       end when an adapter is loaded
    token-seconds     seconds between two streamed tokens (0.01)
    tokens            tokens in an answer (5)
    tokens-<adapter>  tokens in an answer of that adapter
    fail-<adapter>    answer its questions with status 500
    empty-<adapter>   answer them with the end token alone
    wait-<adapter>    seconds before its first token
    stream-error      begin streams with an error of that code
"""

from __future__ import annotations

import argparse
import json
import os
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["STUB_FOLDER"])
LOADED: dict[str, str] = {}
LOCK = threading.Lock()


def told(name: str) -> str | None:
    path = FOLDER / name
    return path.read_text().strip() if path.exists() else None


def event_of(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    record: Path
    model: str
    api_key: str

    def address_string(self) -> str:
        return "gateway"

    def log_message(self, *_: Any) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(503 if told("slow-start") is not None else 200, {})
        elif self.path == "/metrics":
            text = '# HELP vllm:num_requests_running x\nvllm:num_requests_running{model_name="a"} 0\npython_info 1\n'
            self.reply(200, text)
        else:
            self.reply(404, {"error": {"message": "no such path", "code": 404}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with LOCK, self.record.open("a") as file:
            headers = {name.lower(): value for name, value in self.headers.items()}
            file.write(json.dumps({"path": self.path, "body": body, "headers": headers}) + "\n")
        while told("hang") is not None:
            time.sleep(0.02)
        if self.headers["authorization"] != f"Bearer {self.api_key}":
            self.reply(401, {"error": "Unauthorized"})
        elif self.path == "/v1/load_lora_adapter":
            self.load(body["lora_name"], body["lora_path"])
        elif self.path == "/v1/unload_lora_adapter":
            LOADED.pop(body["lora_name"], None)
            self.reply(200, "Success")
        elif body["model"] != self.model and body["model"] not in LOADED:
            self.refuse(404, f"The model `{body['model']}` does not exist.")
        elif body.get("seed") == 13:
            self.refuse(400, f"seed 13 is refused by {body['model']}")
        else:
            self.generate(body)

    def load(self, name: str, path: str) -> None:
        config = json.loads((Path(path) / "adapter_config.json").read_text())
        if told("die-on-load") is not None:
            os._exit(9)
        if told(f"refuse-{config['name']}") is not None:
            self.refuse(400, f"adapter {config['name']} is refused")
        elif name in LOADED:
            self.refuse(400, f"The lora adapter '{name}' has already been loaded.")
        else:
            LOADED[name] = config["name"]
            self.reply(200, f"Success: LoRA adapter '{name}' added successfully.")

    def generate(self, body: dict[str, Any]) -> None:
        who = LOADED.get(body["model"], "base")
        chat = self.path == "/v1/chat/completions"
        wanted, limit = int(told(f"tokens-{who}") or told("tokens") or 5), body.get("max_tokens") or 10**9
        count = 0 if told(f"empty-{who}") is not None else min(wanted, limit)
        finish = "length" if wanted > limit and count else "stop"
        usage = {"prompt_tokens": 7, "completion_tokens": count or 1, "total_tokens": 7 + (count or 1)}
        if told(f"fail-{who}") is not None:
            self.reply(500, {"error": {"message": "the stub was told to fail", "code": 500}})
            return
        time.sleep(float(told(f"wait-{who}") or 0))
        pause = float(told("token-seconds") or 0.01)
        # the text holds what the rewriting of the model field must not touch
        texts = [f'{who} "model":"{body["model"]}" {i} ' for i in range(count)]
        common = {"id": "cmpl-" + self.headers.get("x-request-id", "0"), "created": 1, "model": body["model"]}
        if not body.get("stream"):
            time.sleep(pause * count)
            message = {"role": "assistant", "content": "".join(texts)}
            choice = {"index": 0, "finish_reason": finish} | (
                {"message": message} if chat else {"text": "".join(texts)}
            )
            self.reply(200, common | {"object": "chat.completion", "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if code := told("stream-error"):
            event = event_of({"error": {"message": f"no such token in {body['model']}", "code": int(code)}})
            self.wfile.write(b"%x\r\n%s\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n" % (len(event), event))
            return
        try:
            for number, text in enumerate(texts or [""], start=1):
                reason = finish if number >= count else None
                choice = {"index": 0, "finish_reason": reason} | (
                    {"delta": {"content": text}} if chat else {"text": text}
                )
                event = event_of(common | {"choices": [choice]})
                half = len(event) // 2  # an event may come in two pieces
                for piece in (event[:half], event[half:]):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                time.sleep(pause)
            if (body.get("stream_options") or {}).get("include_usage"):
                event = event_of(common | {"choices": [], "usage": usage})
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            with LOCK, self.record.open("a") as file:
                file.write(json.dumps({"cancelled": self.headers.get("x-request-id")}) + "\n")

    def refuse(self, status: int, message: str) -> None:
        self.reply(status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}})

    def reply(self, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uds", required=True)
    parser.add_argument("--served-model-name", required=True)
    if sys.argv[1:2] == ["--wait"]:
        (FOLDER / f"standby-{os.getpid()}").touch()
        line = sys.stdin.readline()
        if not line:
            return
        sys.argv[1:] = json.loads(line)
    options, _ = parser.parse_known_args()
    if told("refuse-start") is not None:
        sys.exit("ValueError: the stub was told not to start")
    number = len(list(FOLDER.glob("engine-*.jsonl"))) + 1
    Handler.record = FOLDER / f"engine-{number}.jsonl"
    Handler.model = options.served_model_name
    Handler.api_key = os.environ["VLLM_API_KEY"]
    Handler.record.write_text(json.dumps({"arguments": sys.argv[1:], "environment": sorted(os.environ)}) + "\n")
    while told("late-start") is not None:
        time.sleep(0.02)
    # vLLM has children too; this one lives on when the stub alone is killed
    if told("child") is not None and (pid := os.fork()) == 0:
        time.sleep(600)
        os._exit(0)
    elif told("child") is not None:
        (FOLDER / "child").write_text(str(pid))
    with Server(options.uds, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
