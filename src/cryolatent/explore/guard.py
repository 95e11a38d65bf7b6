"""The door of the server: who may ask, and how much may be sent."""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

LARGEST_BODY = 1 << 20
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """Lets through requests of this machine's own page alone.

    The first part of every path is the token, so that scripts, styles and pictures are guarded as
    well, no cookie is needed, and another page cannot have a browser send it. The name in ``Host``
    is that of this machine, whatever the port, so that a tunnel works and a foreign name that
    resolves to this machine does not. An ``Origin`` is the page's own.

    Args:
        application: What answers.
        token: The secret of the printed address.
    """

    def __init__(self, application: Application, token: str) -> None:
        self.application, self.token = application, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it (ASGI).

        Args:
            scope: The request.
            receive: Gives its body.
            send: Takes the answer.
        """
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        rest = scope["path"].removeprefix(f"/{self.token}")
        if not rest:
            await _redirect(send, f"/{self.token}/")
            return
        inner = {**scope, "path": rest, "raw_path": rest.encode()}
        body = await _body(receive)
        if body is None:
            await _refuse(send, 413, f"more than {LARGEST_BODY} bytes")
            return
        await self.application(inner, _replay(body, receive), _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason if a request is not let through."""
        headers = [(name.decode("latin-1"), value) for name, value in scope["headers"]]
        hosts = [value.decode("latin-1").lower() for name, value in headers if name == "host"]
        if len(hosts) != 1 or not _is_loopback(hosts[0]):
            return 403, "not a name of this machine in Host"
        origins = [value.decode("latin-1").lower() for name, value in headers if name == "origin"]
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return 403, "another page in Origin"
        given = scope["path"].split("/")[1]
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return 403, "not the address that cryolatent explore has printed"
        lengths = [value for name, value in headers if name == "content-length"]
        if any(not length.isdigit() or int(length) > LARGEST_BODY for length in lengths):
            return 413, f"more than {LARGEST_BODY} bytes"
        return None


def _is_loopback(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name in LOOPBACK
    return host in LOOPBACK


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large, whatever its header said."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > LARGEST_BODY:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return guarded


async def _redirect(send: Send, place: str) -> None:
    headers = [(b"location", place.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body"})


async def _refuse(send: Send, status: int, reason: str) -> None:
    text = f"cryolatent explore: {reason}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(text)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
