"""Requests to a running server."""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 120


@dataclass(frozen=True)
class Served:
    """A running server.

    Args:
        url: The address that it has printed.
        exports: Its folder of exports.
    """

    url: str
    exports: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def token(self) -> str:
        return urlsplit(self.url).path.strip("/")

    def request(
        self, path: str, body: Any = None, method: str = "", **headers: str
    ) -> tuple[int, bytes]:
        """Send a request, its path as it is; `body` as JSON unless it is bytes or an iterator."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        usual = {} if body is None else {"Content-Type": "application/json"}
        try:
            method = method or ("GET" if body is None else "POST")
            connection.request(method, path, sent, usual | headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def headers(self, path: str) -> dict[str, str]:
        """Headers of an answer, names in lower case."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            return {name.lower(): value for name, value in connection.getresponse().getheaders()}
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, body = self.request(f"/{self.token}/api/{path}")
        assert status == 200, body
        return json.loads(body)

    def ask(self, path: str, question: dict[str, Any]) -> Any:
        status, body = self.request(f"/{self.token}/api/{path}", question)
        assert status == 200, body
        return json.loads(body)
