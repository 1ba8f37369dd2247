"""The contract between Tracardi and TMS, asked with nothing but aiohttp.

Independent of tms_client on purpose: it follows what Tracardi's containers and
the programs around them do, so that an error made in both TMS and tms_client
is seen. Prints one line per fact and ends with their number.

Environment: TMS_CONTRACT_URL, TMS_CONTRACT_API_KEY.
"""

import asyncio
import os
import sys
import uuid

import aiohttp

URL = os.environ["TMS_CONTRACT_URL"]
KEY = os.environ["TMS_CONTRACT_API_KEY"]

facts = 0


def fact(text, true):
    global facts
    if not true:
        sys.exit(f"not so: {text}")
    facts += 1
    print(f"ok: {text}")


async def authorize(http):
    async with http.get(f"{URL}/api-key/{KEY}") as answer:
        token = await answer.json()
        fact("the token is a JSON string", answer.status == 200 and isinstance(token, str))
        fact("nothing keeps the token", "no-store" in answer.headers.get("Cache-Control", ""))
    async with http.get(f"{URL}//api-key/{KEY}") as answer:
        fact("an address with a slash at its end works too", answer.status == 200)
    async with http.get(f"{URL}/api-key/no-such-key") as answer:
        fact("an unknown key is refused", answer.status in (401, 403))
        fact("with a detail", isinstance((await answer.json())["detail"], str))
    return {"Authorization": f"Bearer {token}"}


async def provision(http, bearer):
    new, old, least = (f"p{uuid.uuid4().hex[:10]}" for _ in range(3))
    bodies = (
        {"id": new, "created": "2026-01-02T03:04:05.678901", "name": "New", "install_token": "new-secret",
         "email": "ops@example.com", "expire": None},
        {"id": old, "created": "2023-05-06T07:08:09", "name": "Old", "install_key": "old-secret",
         "email": "ops@example.com", "expire": "2099-12-31T00:00:00", "license_id": "L-1"},
        {"id": least},
    )
    for body in bodies:
        async with http.post(f"{URL}/tenant", json=body, headers=bearer) as answer:
            fact(f"{sorted(body)} is accepted", answer.status == 200)
            fact("and answered with the tenant", (await answer.json())["id"] == body["id"])
    return new, old, least


async def refused_bodies(http, bearer, taken):
    for name, body, loc in (
        ("without id", {"name": "x"}, ["body", "id"]),
        ("a number for an id", {"id": "12345"}, ["body", "id"]),
        ("an id of two letters", {"id": "ab"}, ["body", "id"]),
        ("an id that is taken", {"id": taken}, ["body", "id"]),
        ("no e-mail address", {"id": "refused", "email": "nope"}, ["body", "email"]),
        ("no time", {"id": "refused", "expire": "tomorrow"}, ["body", "expire"]),
        ("a list", [], ["body"]),
        ("an install token that is no text", {"id": "refused", "install_key": 1}, ["body", "install_key"]),
    ):
        async with http.post(f"{URL}/tenant", json=body, headers=bearer) as answer:
            fact(f"{name}: 422", answer.status == 422)
            detail = (await answer.json())["detail"]
            fact(f"{name}: one entry at {loc}", [d["loc"] for d in detail] == [loc])
            fact(f"{name}: with msg and type", all(isinstance(detail[0][k], str) for k in ("msg", "type")))
    async with http.post(f"{URL}/tenant", data='{"id": "refused"} x', headers=bearer) as answer:
        fact("something after the JSON: 422", answer.status == 422)


async def install(http, bearer, tenant, token):
    """Decide as Tracardi's installation does."""
    async with http.get(f"{URL}/tenant/{tenant}", headers=bearer) as answer:
        if answer.status == 404:
            return f"Tenant [{tenant}] not allowed"
        found = await answer.json()
        fact("both spellings are answered", found["install_token"] == found["install_key"])
        fact("nothing keeps the install token", "no-store" in answer.headers.get("Cache-Control", ""))
    return "installed" if found["install_token"] == token else "Invalid installation token"


async def main():
    limit = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=limit) as http:
        bearer = await authorize(http)
        new, old, least = await provision(http, bearer)
        await refused_bodies(http, bearer, taken=new)
        fact("install_token counts", await install(http, bearer, new, "new-secret") == "installed")
        fact("install_key counts", await install(http, bearer, old, "old-secret") == "installed")
        fact("a wrong one does not", await install(http, bearer, new, "old-secret") == "Invalid installation token")
        fact("an empty one does not", await install(http, bearer, least, "") == "Invalid installation token")
        fact("nobody is not allowed", await install(http, bearer, "nobody", "") == "Tenant [nobody] not allowed")
        async with http.delete(f"{URL}/tenant/{old}", headers=bearer) as answer:
            fact("a tenant can be deleted", answer.status == 200)
        fact("and is not allowed then", await install(http, bearer, old, "old-secret") == f"Tenant [{old}] not allowed")
        async with http.delete(f"{URL}/tenant/nobody", headers=bearer) as answer:
            fact("deleting nobody is a 404", answer.status == 404)
        for path in ("/tenants", "/tenant"):
            async with http.get(URL + path, headers=bearer) as answer:
                ids = [t["id"] for t in await answer.json()]
                fact(f"{path} lists who may be served", new in ids and least in ids and old not in ids)
            async with http.get(URL + path) as answer:
                fact(f"{path} needs a token", answer.status == 401)
            async with http.get(URL + path, headers={"Authorization": "Bearer e30.e30.e30"}) as answer:
                fact(f"{path} needs a good token", answer.status == 401)
    print(f"{facts} facts")


asyncio.run(main())
