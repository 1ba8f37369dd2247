"""The same questions to a running TMS.

TMS_CONTRACT_URL, TMS_CONTRACT_API_KEY and TMS_CONTRACT_ADMIN_KEY say which;
the Go test in internal/contract starts one and sets them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tms_client import AuthorizationError, MultiTenantManager, UnreachableError
from tms_client.token import Token

URL = os.environ.get("TMS_CONTRACT_URL", "")
KEY = os.environ.get("TMS_CONTRACT_API_KEY", "")
ADMIN = os.environ.get("TMS_CONTRACT_ADMIN_KEY", "")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.contract,
    pytest.mark.skipif(not URL, reason="TMS_CONTRACT_URL names no running TMS"),
]


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    """Give an administrator's client."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(base_url=URL, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
async def manager() -> AsyncIterator[MultiTenantManager]:
    async with MultiTenantManager(URL) as manager:
        await manager.authorize(KEY)
        yield manager


async def provision(api: httpx.AsyncClient, **fields: Any) -> str:
    tenant = f"t{uuid4().hex[:12]}"
    answer = await api.post("/tenant", json={"id": tenant, "name": "Contract", **fields})
    assert answer.status_code == 200, answer.text
    return tenant


@pytest.mark.parametrize("spelling", ["install_token", "install_key"])
async def test_install_token(
    api: httpx.AsyncClient, manager: MultiTenantManager, spelling: str
) -> None:
    tenant = await provision(api, **{spelling: "let-me-in"})
    found = await manager.is_tenant_allowed(tenant)
    assert found is not None
    assert (found.id, found.install_token, found.name) == (tenant, "let-me-in", "Contract")
    assert found.release


async def test_a_token_is_made_when_none_is_given(
    api: httpx.AsyncClient, manager: MultiTenantManager
) -> None:
    found = await manager.is_tenant_allowed(await provision(api))
    assert found is not None
    assert found.install_token


async def test_who_is_not_allowed(api: httpx.AsyncClient, manager: MultiTenantManager) -> None:
    for unknown in ("nobody", "12345", "ab", "../tenants", "Ä", "a" * 300, "a%2fb"):
        assert await manager.is_tenant_allowed(unknown) is None
    past = (datetime.now(timezone.utc) - timedelta(days=1)).isoformat()
    answer = await api.post("/tenant", json={"id": "longgone", "expire": past})
    assert answer.status_code in (200, 422), answer.text
    assert await manager.is_tenant_allowed("longgone") is None
    tenant = await provision(api)
    assert await manager.is_tenant_allowed(tenant) is not None
    assert (await api.delete(f"/tenant/{tenant}")).status_code == 200
    assert await manager.is_tenant_allowed(tenant) is None


async def test_list(api: httpx.AsyncClient, manager: MultiTenantManager) -> None:
    kept, gone = await provision(api), await provision(api)
    await api.delete(f"/tenant/{gone}")
    ids = [tenant.id for tenant in await manager.list_tenants()]
    assert kept in ids
    assert gone not in ids
    assert all(t.install_token is None for t in await manager.list_tenants())


async def test_without_async_with(api: httpx.AsyncClient) -> None:
    tenant = await provision(api)
    manager = MultiTenantManager(f"{URL}/")
    await manager.authorize(KEY)
    assert await manager.is_tenant_allowed(tenant) is not None


async def test_a_token_of_another_secret_is_renewed(manager: MultiTenantManager) -> None:
    manager._token = Token("e30.e30.e30")
    await manager.list_tenants()
    assert manager._token.value != "e30.e30.e30"


async def test_the_life_of_a_token_is_known(manager: MultiTenantManager) -> None:
    assert manager._token is not None
    assert manager._token.renew_at is not None


async def test_refused_keys(
    api: httpx.AsyncClient, manager: MultiTenantManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AuthorizationError, match="not known"):
        await manager.authorize("no-such-key")
    made = await api.post("/v1/apiKeys", json={"display_name": "contract", "role": "instance"})
    assert made.status_code == 200, made.text
    key = made.json()
    await manager.authorize(key["secret"])
    await manager.list_tenants()
    revoked = await api.post(f"/v1/apiKeys/{key['api_key']['id']}:revoke", json={})
    assert revoked.status_code == 200, revoked.text
    with pytest.raises(AuthorizationError, match="revoked"):
        await manager.list_tenants()
    assert key["secret"] not in caplog.text.replace(made.text, "")
    assert "no-such-key" not in caplog.text


async def test_nobody_listens() -> None:
    with pytest.raises(UnreachableError, match="Could not reach Tenant Management Service"):
        await MultiTenantManager("http://127.0.0.1:1").authorize(KEY)
