"""The token that an API key is exchanged for."""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass, field

#: Share of a token's life after which it is renewed. The rest covers requests
#: under way and a service that is not reachable for a moment.
RENEW_AFTER = 0.8


@dataclass(frozen=True)
class Token:
    """A token and when to get the next one."""

    value: str = field(repr=False)
    #: On the clock of ``time.monotonic``; None when the token does not tell.
    renew_at: float | None = None

    @classmethod
    def received(cls, value: str, asked_at: float) -> Token:
        """Make a token of an answer to a question asked at ``asked_at``.

        The life of a JSON Web Token is read from it as a span, so the clocks
        of service and client need not agree. Its signature is the service's
        business. Any other token is good until it is refused.
        """
        span = _life(value)
        return cls(value, None if span is None else asked_at + span * RENEW_AFTER)

    def is_due(self) -> bool:
        return self.renew_at is not None and time.monotonic() >= self.renew_at


def _life(value: str) -> float | None:
    parts = value.split(".")
    if len(parts) != 3:
        return None
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(raw)
        span = float(claims["exp"]) - float(claims["iat"])
    except (binascii.Error, KeyError, TypeError, ValueError):
        return None
    return span if span > 0 else None
