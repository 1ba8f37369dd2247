from __future__ import annotations

import asyncio
import logging
import time

import httpx
import pytest

from service import ACME, KEY, Service, answering, failing, jwt
from tms_client import (
    AuthorizationError,
    ConfigurationError,
    MultiTenantManager,
    Tenant,
    TMSError,
    UnexpectedAnswerError,
    UnreachableError,
)
from tms_client.token import RENEW_AFTER, Token

pytestmark = pytest.mark.anyio


async def test_what_tracardi_does() -> None:
    service = Service()
    manager = service.manager()
    await manager.authorize(KEY)
    tenant = await manager.is_tenant_allowed("acme")
    assert tenant == Tenant(id="acme", install_token="let-me-in", name="Acme")
    assert await manager.is_tenant_allowed("nobody") is None
    assert [t.id for t in await manager.list_tenants()] == ["acme", "beta"]
    assert service.asked["api-key"] == 1


@pytest.mark.parametrize("tenant", ["", ".", ".."])
async def test_what_no_path_can_say_is_not_allowed(tenant: str) -> None:
    service = Service()
    manager = service.manager()
    await manager.authorize(KEY)
    assert await manager.is_tenant_allowed(tenant) is None
    assert service.asked["tenant"] == 0


@pytest.mark.parametrize("tenant", ["../tenants", "acme/", "acme?x=1", "acme%2f", "ä", "a b"])
async def test_a_tenant_stays_in_its_path_segment(tenant: str) -> None:
    manager = Service().manager()
    await manager.authorize(KEY)
    assert await manager.is_tenant_allowed(tenant) is None


async def test_keys_and_tokens_are_nowhere_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service = Service()
    manager = service.manager()
    secret = "K3Y"
    with pytest.raises(AuthorizationError) as refused:
        await manager.authorize(secret)
    service.instead["api-key"] = failing(httpx.ConnectError("no route"))
    with pytest.raises(UnreachableError) as unreachable:
        await manager.authorize(secret)
    del service.instead["api-key"]
    await manager.authorize(KEY)
    tenant = await manager.is_tenant_allowed("acme")
    shown = [caplog.text, manager.auth_endpoint, repr(manager), repr(tenant), repr(manager._token)]
    for error in (refused.value, unreachable.value):
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
        shown.append(str(error))
    assert "HTTP Request: GET http://tms.test/api-key/***" in caplog.text
    for text in shown:
        for hidden in (secret, KEY, "with", "let-me-in", *service.good):
            assert hidden not in text


async def test_a_refused_token_is_renewed_once() -> None:
    service = Service()
    manager = service.manager()
    await manager.authorize(KEY)
    service.good.clear()  # a restart with another SECRET
    assert await manager.is_tenant_allowed("acme") is not None
    assert (service.asked["api-key"], service.asked["tenant"]) == (2, 2)

    service.instead["tenant"] = answering(401, json={"detail": "no"})
    with pytest.raises(AuthorizationError, match="no"):
        await manager.is_tenant_allowed("acme")
    assert (service.asked["api-key"], service.asked["tenant"]) == (3, 4)


async def test_a_revoked_key_says_so_at_renewal() -> None:
    service = Service()
    manager = service.manager()
    await manager.authorize(KEY)
    service.good.clear()
    service.instead["api-key"] = answering(403, json={"detail": "the API key was revoked"})
    with pytest.raises(PermissionError, match="the API key was revoked"):
        await manager.is_tenant_allowed("acme")


async def test_a_token_is_renewed_before_it_expires() -> None:
    service = Service()
    service.life = 1e-6
    manager = service.manager()
    await manager.authorize(KEY)
    await manager.list_tenants()
    service.life = 900
    await manager.list_tenants()
    for _ in range(5):
        await manager.list_tenants()
    assert service.asked["api-key"] == 3, "one for authorize, one each for two old tokens"


async def test_many_tasks_renew_once() -> None:
    service = Service()
    async with service.manager() as manager:
        await manager.authorize(KEY)
        service.good.clear()
        answers = await asyncio.gather(*(manager.is_tenant_allowed("acme") for _ in range(50)))
    assert all(answers)
    assert service.asked["api-key"] == 2


async def test_a_refused_key_does_not_replace_a_good_one() -> None:
    manager = Service().manager()
    await manager.authorize(KEY)
    with pytest.raises(AuthorizationError, match="not known"):
        await manager.authorize("another")
    assert await manager.is_tenant_allowed("acme") is not None


async def test_without_authorize() -> None:
    manager = Service().manager()
    with pytest.raises(AuthorizationError, match="call authorize"):
        await manager.list_tenants()
    with pytest.raises(AuthorizationError, match="MULTI_TENANT_MANAGER_API_KEY"):
        await manager.authorize("")


@pytest.mark.parametrize(
    "answer",
    [
        failing(httpx.ConnectError("refused")),
        failing(httpx.ConnectTimeout("late")),
        failing(httpx.ReadTimeout("late")),
        failing(httpx.RemoteProtocolError("cut off")),
        failing(httpx.PoolTimeout("busy")),
        answering(503, json={"detail": "the database does not answer"}),
        answering(502, text="<html>bad gateway</html>"),
        answering(429, json={"detail": "too many requests"}),
    ],
)
@pytest.mark.parametrize("kind", ["api-key", "tenant", "tenants"])
async def test_unreachable_is_one_exception(kind: str, answer: object) -> None:
    service = Service()
    manager = service.manager()
    if kind != "api-key":
        await manager.authorize(KEY)
    service.instead[kind] = answer  # type: ignore[assignment]
    # What Tracardi catches, with what its operators look for.
    with pytest.raises(
        asyncio.TimeoutError, match="Could not reach Tenant Management Service at http://tms"
    ) as caught:
        await {
            "api-key": lambda: manager.authorize(KEY),
            "tenant": lambda: manager.is_tenant_allowed("acme"),
            "tenants": lambda: manager.list_tenants(),
        }[kind]()  # type: ignore[no-untyped-call]
    assert isinstance(caught.value, UnreachableError)
    assert isinstance(caught.value, TMSError)


async def test_the_time_out_is_of_the_whole_call() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send a byte now and then, so that no single read times out."""
        try:
            while await reader.readline() not in (b"\r\n", b""):
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        manager = MultiTenantManager(f"http://127.0.0.1:{port}", timeout=0.2)
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
            await manager.authorize(KEY)
        assert time.monotonic() - began < 5
        server.close()


async def test_cancelling_is_not_a_time_out() -> None:
    service = Service()
    asked = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    manager = MultiTenantManager(service.url, transport=httpx.MockTransport(never))
    call = asyncio.create_task(manager.authorize(KEY))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answering(500, json={"detail": "internal error"}), "500, internal error"),
        (answering(404, text="404 page not found"), "is MULTI_TENANT_MANAGER_URL the address"),
        (answering(200, text="<html>"), "JSON"),
        (answering(200, json=[ACME]), "something else than a tenant"),
        (answering(200, json={"name": "x"}), "without id"),
        (answering(200, json={"id": 7}), "without id"),
        (answering(200, json={"id": "beta"}), "another tenant"),
        (answering(200, json={"id": "acme", "install_token": 5}), "install_token is no text"),
        (answering(307, headers={"Location": "http://x/?K3Y"}), "redirects elsewhere"),
    ],
)
async def test_a_strange_answer_is_neither_yes_nor_no(answer: object, says: str) -> None:
    service = Service()
    manager = service.manager()
    await manager.authorize(KEY)
    service.instead["tenant"] = answer  # type: ignore[assignment]
    with pytest.raises(UnexpectedAnswerError, match=says) as caught:
        await manager.is_tenant_allowed("acme")
    assert "K3Y" not in str(caught.value)


async def test_answers_of_other_services() -> None:
    service = Service()
    manager = service.manager()
    service.instead["api-key"] = answering(200, json="opaque")
    await manager.authorize(KEY)
    service.instead["tenant"] = answering(200, json={"id": "acme", "install_key": "old"})
    tenant = await manager.is_tenant_allowed("acme")
    assert tenant is not None
    assert tenant.install_token == "old"
    service.instead["tenant"] = answering(200, text="null")
    assert await manager.is_tenant_allowed("acme") is None
    service.instead["tenants"] = answering(200, json={"tenants": []})
    with pytest.raises(UnexpectedAnswerError, match="list"):
        await manager.list_tenants()
    for bad in ({"token": "x"}, "", "a\r\nHost: evil", "ä"):
        service.instead["api-key"] = answering(200, json=bad)
        with pytest.raises(UnexpectedAnswerError, match="token"):
            await manager.authorize(KEY)
    service.instead["api-key"] = answering(404, json={"detail": "Not Found"})
    with pytest.raises(AuthorizationError, match="does not know the API key"):
        await manager.authorize(KEY)


@pytest.mark.parametrize(
    ("value", "span"),
    [(jwt(900), 900), (jwt(0), None), (jwt(-5), None), ("opaque", None), ("a.b.c", None)]
    + [(f"h.{claims}.s", None) for claims in ("W10", "e30", "eyJleHAiOm51bGx9", "%%%")],
)
def test_life_of_tokens(value: str, span: float | None) -> None:
    token = Token.received(value, asked_at=50)
    assert token.renew_at == (None if span is None else 50 + span * RENEW_AFTER)


def test_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTI_TENANT_MANAGER_URL", "http://tms:8383/")
    assert MultiTenantManager().auth_endpoint == "http://tms:8383/api-key"
    assert MultiTenantManager("https://x/tms").auth_endpoint == "https://x/tms/api-key"
    monkeypatch.delenv("MULTI_TENANT_MANAGER_URL")
    for bad in (None, "", "tms:8383", "ftp://tms", "http://", "http://tms:x", "http://tms:99999"):
        with pytest.raises(ConfigurationError, match="MULTI_TENANT_MANAGER_URL"):
            MultiTenantManager(bad)
    for bad in ("http://u:hunter2@tms", "http://tms?x=1", "http://tms#x"):
        with pytest.raises(ConfigurationError) as caught:
            MultiTenantManager(bad)
        assert "hunter2" not in str(caught.value)
