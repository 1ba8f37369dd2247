"""A TMS that gives the answers a real one does not give on demand."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httpx

from tms_client import MultiTenantManager

KEY = "key/with äöü?and#more"
ACME = {"id": "acme", "install_token": "let-me-in", "install_key": "let-me-in", "name": "Acme"}

Answer = Callable[[httpx.Request], httpx.Response]


def jwt(life: float) -> str:
    """Make a token that lives for so many seconds, by a clock of its own."""
    claims = json.dumps({"iat": 1000, "exp": 1000 + life}).encode()
    return f"h.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.s"


class Service:
    """Answers like TMS until told otherwise."""

    def __init__(self, url: str = "http://tms.test") -> None:
        self.url = url
        self.life: float = 900
        self.issued = 0
        self.good: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.instead: dict[str, Answer] = {}

    def manager(self, **options: Any) -> MultiTenantManager:
        transport = httpx.MockTransport(self.handle)
        return MultiTenantManager(self.url, transport=transport, **options)

    def handle(self, request: httpx.Request) -> httpx.Response:
        target = request.extensions.get("target", request.url.raw_path).decode()
        kind = target.split("/")[1]
        self.asked[kind] += 1
        if kind in self.instead:
            return self.instead[kind](request)
        if kind == "api-key":
            return self.exchange(unquote(target.removeprefix("/api-key/")))
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.good:
            return httpx.Response(401, json={"detail": "the token has expired"})
        if target == "/tenants":
            return httpx.Response(200, json=[{"id": "acme", "name": "Acme"}, {"id": "beta"}])
        if target == "/tenant/acme":
            return httpx.Response(200, json=ACME)
        return httpx.Response(404, json={"detail": "Tenant not allowed: unknown"})

    def exchange(self, key: str) -> httpx.Response:
        if key != KEY:
            return httpx.Response(401, json={"detail": "the API key is not known"})
        self.issued += 1
        token = f"{jwt(self.life)}{self.issued}"
        self.good.add(token)
        return httpx.Response(200, json=token)


def answering(status: int, **content: Any) -> Answer:
    return lambda _: httpx.Response(status, **content)


def failing(error: Exception) -> Answer:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    return fail
