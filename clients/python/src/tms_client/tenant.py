"""A tenant as TMS shows it to Tracardi."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import UnexpectedAnswerError


@dataclass(frozen=True)
class Tenant:
    """A tenant that may be served."""

    id: str
    #: What the installation form must be given. None in lists, which do not
    #: show it, and where TMS keeps none. Not part of ``repr``.
    install_token: str | None = field(default=None, repr=False)
    name: str = ""
    email: str = ""
    #: Tracardi release of the tenant's indices; None from a TMS that does not
    #: know releases.
    release: str | None = None

    @classmethod
    def from_answer(cls, answer: Any) -> Tenant:
        """Read one JSON object; raises UnexpectedAnswerError."""
        if not isinstance(answer, dict):
            raise UnexpectedAnswerError("TMS answered with something else than a tenant")
        id_ = answer.get("id")
        if not isinstance(id_, str) or not id_:
            raise UnexpectedAnswerError("TMS answered with a tenant without id")
        # Older services say install_key.
        token = _text(answer, "install_token") or _text(answer, "install_key")
        return cls(
            id=id_,
            install_token=token,
            name=_text(answer, "name") or "",
            email=_text(answer, "email") or "",
            release=_text(answer, "release"),
        )


def _text(answer: dict[str, Any], name: str) -> str | None:
    value = answer.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        # Taking it for absent would let anybody install.
        raise UnexpectedAnswerError(f"TMS answered with a tenant whose {name} is no text")
    return value
