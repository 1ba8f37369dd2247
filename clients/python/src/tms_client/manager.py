"""MultiTenantManager, the interface that Tracardi calls."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import httpx

from .errors import (
    AuthorizationError,
    ConfigurationError,
    UnexpectedAnswerError,
    UnreachableError,
)
from .tenant import Tenant
from .token import Token

#: Environment variable with the address of TMS, as Tracardi knows it.
URL_VARIABLE = "MULTI_TENANT_MANAGER_URL"

#: Seconds for one call of this class, renewal of the token included. TMS
#: answers from memory, in a millisecond: who waits longer waits for nothing.
DEFAULT_TIMEOUT = 5.0

#: What operators look for in Tracardi's warnings.
UNREACHABLE = "Could not reach Tenant Management Service"

#: Longest part of an answer of TMS's that is quoted in an error.
_QUOTED = 300


class MultiTenantManager:
    """Asks TMS on behalf of a Tracardi container.

    Call ``authorize`` first; afterwards the token is renewed before it
    expires, and once when it is refused. An instance belongs to one event loop
    and may be used by any number of its tasks at once.

    Used as ``async with MultiTenantManager() as manager`` it keeps connections
    open. Without, every call opens and closes its own: Tracardi makes an
    instance per request and never closes it.

    Nothing is cached: a tenant that is suspended is refused from the next call
    on, and TMS answers from memory.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Make a manager for the TMS at ``url``; raises ConfigurationError.

        ``url`` is MULTI_TENANT_MANAGER_URL when None. ``timeout`` bounds each
        call, in seconds. ``ssl_context`` is for authorities that the system
        does not know. ``transport`` replaces the network, in tests.
        """
        self._base = _checked(url if url is not None else os.environ.get(URL_VARIABLE, ""))
        self._timeout = timeout
        self._ssl_context = ssl_context
        self._transport = transport
        self._key: str | None = None
        self._token: Token | None = None
        self._renewal: asyncio.Lock | None = None  # made in its loop, see _fresh
        self._kept: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"MultiTenantManager({self._base!r})"

    @property
    def auth_endpoint(self) -> str:
        """Where keys are exchanged, without a key: Tracardi logs it."""
        return f"{self._base}/api-key"

    async def authorize(self, api_key: str) -> None:
        """Exchange the API key for a token.

        Raises AuthorizationError when TMS refuses the key, UnreachableError
        when it cannot be asked.
        """
        if not api_key:
            raise AuthorizationError("the API key is empty: set MULTI_TENANT_MANAGER_API_KEY")
        async with self._call() as client:
            token = await self._exchange(client, api_key)
            # Only now, so that a key that is refused does not replace a good one.
            self._key, self._token = api_key, token

    async def is_tenant_allowed(self, tenant: str) -> Tenant | None:
        """Return the tenant, with its install token, or None when it may not be served.

        Raises a TMSError when that is not known: an error is never a no, and
        never a yes.
        """
        if tenant in ("", ".", ".."):  # no path segment can say them
            return None
        async with self._call() as client:
            response = await self._get(client, f"/tenant/{quote(tenant, safe='')}")
        answer = _json(response)
        if response.status_code == 404:
            if isinstance(answer, dict) and "detail" in answer:
                return None
            raise UnexpectedAnswerError(
                f"{self._base} has no tenants: is {URL_VARIABLE} the address of a TMS?"
            )
        _expect_ok(response, answer)
        if answer is None:
            return None
        found = Tenant.from_answer(answer)
        if found.id != tenant:
            raise UnexpectedAnswerError("TMS answered with another tenant than the one asked for")
        return found

    async def list_tenants(self) -> list[Tenant]:
        """Return the tenants that may be served, without install tokens."""
        async with self._call() as client:
            response = await self._get(client, "/tenants")
        answer = _json(response)
        _expect_ok(response, answer)
        if not isinstance(answer, list):
            raise UnexpectedAnswerError("TMS answered with something else than a list of tenants")
        return [Tenant.from_answer(one) for one in answer]

    async def aclose(self) -> None:
        """Close the connections that ``async with`` keeps."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.aclose()

    async def __aenter__(self) -> MultiTenantManager:
        if self._kept is None:
            self._kept = self._client()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._ssl_context or _system_authorities(),
            timeout=self._timeout,
            transport=self._transport,
            # A proxy of the environment would see keys and tokens, and a
            # redirect could carry them elsewhere.
            trust_env=False,
            follow_redirects=False,
        )

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client to one call, and its failures their one name."""
        client = self._kept or self._client()
        try:
            with anyio.fail_after(self._timeout):
                yield client
        except UnreachableError:
            raise  # is a TimeoutError, but knows more
        # What is suppressed below may hold the request, and with it the key.
        except (TimeoutError, httpx.TimeoutException):
            raise UnreachableError(
                f"{UNREACHABLE} at {self._base}: no answer within {self._timeout:g} s"
            ) from None
        except httpx.TransportError as error:
            raise UnreachableError(f"{UNREACHABLE} at {self._base}: {error}") from None
        finally:
            if client is not self._kept:
                await client.aclose()

    async def _get(self, client: httpx.AsyncClient, path: str) -> httpx.Response:
        """Ask with a token; a refused token is renewed once."""
        token = await self._fresh(client, refused=None)
        for attempt in (1, 2):
            response = await client.get(
                self._base + path, headers={"Authorization": f"Bearer {token.value}"}
            )
            if response.status_code == 401 and attempt == 1:
                token = await self._fresh(client, refused=token)
                continue
            break
        return self._accepted(response)

    async def _fresh(self, client: httpx.AsyncClient, refused: Token | None) -> Token:
        """Return a token that is not about to expire and is not ``refused``.

        Of many tasks that find the same token old, one renews it.
        """
        if self._renewal is None:
            self._renewal = asyncio.Lock()  # Python 3.9 binds a lock to its loop
        async with self._renewal:
            if self._token is None or self._key is None:
                raise AuthorizationError("not authorized yet: call authorize(api_key) first")
            if self._token is refused or self._token.is_due():
                self._token = await self._exchange(client, self._key)
            return self._token

    async def _exchange(self, client: httpx.AsyncClient, api_key: str) -> Token:
        """Get a token. The contract wants the key in the path.

        It goes there by the request's target and never by its URL: that one
        httpx logs, errors carry and tracers record.
        """
        prefix = urlsplit(self._base).path
        target = f"{prefix}/api-key/{quote(api_key, safe='')}".encode("ascii")
        asked_at = time.monotonic()
        response = await client.get(f"{self.auth_endpoint}/***", extensions={"target": target})
        response = self._accepted(response)
        if response.status_code == 404:  # how some services say it
            raise AuthorizationError(f"{self.auth_endpoint} does not know the API key")
        answer = _json(response)
        _expect_ok(response, answer)
        if not isinstance(answer, str) or not answer or not _is_header_value(answer):
            raise UnexpectedAnswerError("TMS answered with something else than a token")
        return Token.received(answer, asked_at)

    def _accepted(self, response: httpx.Response) -> httpx.Response:
        """Raise what is the same for every request."""
        status = response.status_code
        if status in (401, 403):
            raise AuthorizationError(f"TMS refuses the API key: {_detail(response)}")
        if status in (429, 502, 503, 504):
            # Balancers in front of TMS say so, or TMS when it is not ready.
            raise UnreachableError(
                f"{UNREACHABLE} at {self._base}: it answered {status}, {_detail(response)}"
            )
        if response.is_redirect:
            raise UnexpectedAnswerError(
                f"{self._base} redirects elsewhere: set {URL_VARIABLE} to the final address"
            )
        return response


@functools.lru_cache(maxsize=1)
def _system_authorities() -> ssl.SSLContext:
    """Read the system's authorities once: it takes longer than a question to TMS."""
    return ssl.create_default_context()


def _checked(url: str) -> str:
    """Return the address without trailing slash."""
    if not url:
        raise ConfigurationError(f"the address of TMS is not known: set {URL_VARIABLE}")
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ConfigurationError(
            f"{URL_VARIABLE} is not an address such as http://tms:8383"
        ) from None
    if "@" in parts.netloc:
        raise ConfigurationError(f"{URL_VARIABLE} holds credentials: TMS takes an API key only")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ConfigurationError(f"{URL_VARIABLE} is not an address such as http://tms:8383")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{URL_VARIABLE} has a query or fragment: give the address only")
    return url.rstrip("/")


def _json(response: httpx.Response) -> Any:
    """Return the body, or the empty object for one that is no JSON."""
    try:
        return response.json()
    except ValueError:
        return {}


def _detail(response: httpx.Response) -> str:
    answer = _json(response)
    if isinstance(answer, dict) and isinstance(answer.get("detail"), str):
        return str(answer["detail"])[:_QUOTED]
    return "without saying why"


def _expect_ok(response: httpx.Response, answer: Any) -> None:
    if response.status_code != 200:
        raise UnexpectedAnswerError(f"TMS answered {response.status_code}, {_detail(response)}")
    if answer == {}:
        raise UnexpectedAnswerError("TMS answered with something else than JSON")


def _is_header_value(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value
