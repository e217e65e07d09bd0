"""Read AWS policies as policies: whom a statement lets in, by effect, principal and condition, wherever the policy stands.

The library `policyuniverse` knows principals, ARNs and condition keys. Source: AWS, "IAM JSON policy elements" and, for what
counts as public, "Blocking public access to your Amazon S3 storage".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from verifier.parameters import objects_in, opened

_ACCOUNT_ID = re.compile(r"(?<![\da-f-])\d{12}(?![\da-f])")
# Condition keys that bind a statement to somebody in particular and that the library does not list.
NARROWING_KEYS = (
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:principalservicename",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "sts:externalid",
)

REPOSITORIES = "token.actions.githubusercontent.com"  # GitHub, "Configuring OpenID Connect in Amazon Web Services"
_REPOSITORY_CLAIMS = (
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "job_workflow_ref",
)

POLICIES = (
    "by a Statement with the Effect Allow, its Principal * (or a NotPrincipal) lets everybody in, and an account's number that account, unless a Condition of equality or likeness names an organisation, account, ARN, user, address range (of /8 or narrower, /16 in IPv6), VPC or endpoint, "
    f"or one of {', '.join(NARROWING_KEYS)} (the last keeps out everybody, not a named account); a test that also passes without its key (IfExists, ForAllValues) or by * alone binds nobody; "
    f"a Federated Principal {REPOSITORIES} lets every repository in unless a Condition of StringEquals or StringLike (also ForAnyValue:) names its {', '.join(_REPOSITORY_CLAIMS)} beyond repo:; "
    "without a Principal it grants its Action, or all but its NotAction, on its Resource; a policy that was cut or is no JSON grants nothing"
)


class Grant(NamedTuple):
    """What one statement with the effect Allow gives: to everybody, to accounts by number; `bound` where a condition names who may."""

    everybody: bool
    accounts: frozenset[str]
    actions: frozenset[str]
    resources: frozenset[str]
    to_somebody: bool
    bound: bool


@lru_cache(maxsize=4096)
def grants_of(text: str) -> tuple[Grant, ...]:
    """Return what the policies in a request grant; nothing where the text holds no policy, was cut, or is no JSON."""
    policies = (part["Statement"] for part in objects_in(opened(text)) if "Statement" in part)
    statements = (row for policy in policies for row in (policy if isinstance(policy, list) else [policy]))
    return tuple(_grant(row) for row in statements if isinstance(row, dict) and row.get("Effect") == "Allow")


@cache
def _statement_type() -> Any:
    """Load the library's class of statements at its first use: it reads a table of all actions, whose file it leaves open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        from policyuniverse.statement import Statement
    return Statement


def _grant(row: Mapping[str, Any]) -> Grant:
    condition = _plain_condition(row.get("Condition"))
    statement = _statement_type()({**_plain_statement(row), "Condition": condition})
    keys = {key.lower() for tests in condition.values() for key in tests}
    bound = not statement.is_condition_internet_accessible() or not keys.isdisjoint(NARROWING_KEYS)
    to_somebody = "Principal" in row or "NotPrincipal" in row
    named = frozenset(number for principal in statement.principals for number in _ACCOUNT_ID.findall(principal))
    return Grant(
        everybody=to_somebody
        and not bound
        and (statement.is_internet_accessible() or _lets_any_repository_in(row.get("Principal"), condition)),
        accounts=frozenset() if bound and "sts:externalid" not in keys else named,
        actions=frozenset(["*"] if "NotAction" in row else _plain_list(row.get("Action"))),
        resources=frozenset(_plain_list(row.get("Resource"))),
        to_somebody=to_somebody,
        bound=bound,
    )


def _lets_any_repository_in(principal: Any, condition: Mapping[str, Mapping[str, list[str]]]) -> bool:
    """Return whether a statement trusts GitHub's tokens, and no test says of which owner or repository they must be."""
    providers = _plain_list(principal.get("Federated")) if isinstance(principal, dict) else []
    if not any(name.lower().endswith(REPOSITORIES) for name in providers):
        return False
    claims = {f"{REPOSITORIES}:{claim}" for claim in _REPOSITORY_CLAIMS}
    return not any(
        key.lower() in claims and values and ("like" not in operator.lower() or all(map(_names_an_owner, values)))
        for operator, tests in condition.items()
        if _IS_POSITIVE.match(operator)
        for key, values in tests.items()
    )


_IS_POSITIVE = re.compile(r"(?:ForAnyValue:)?String(?:Equals|Like)", re.IGNORECASE)
_CLAIM = "repo:"  # what a token's subject begins with


def _names_an_owner(pattern: str) -> bool:
    """Return whether a claim's pattern says more than that it is of some repository (`repo:*`)."""
    return not _CLAIM.startswith(re.split(r"[*?]", pattern, maxsplit=1)[0].lower())


def _plain_statement(row: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a statement what the library reads, in the shapes that it can read."""
    principal = row.get("Principal")
    plain: Any = (
        {str(kind): _plain_list(names) for kind, names in principal.items()}
        if isinstance(principal, dict)
        else _plain_list(principal)
    )
    statement = {"Effect": "Allow", "Principal": plain, "Action": _plain_list(row.get("Action"))}
    return {**statement, "NotPrincipal": "*"} if "NotPrincipal" in row else statement


def _plain_condition(condition: Any) -> dict[str, dict[str, list[str]]]:
    tests = condition if isinstance(condition, dict) else {}
    return {
        str(operator): {str(key): _plain_list(value) for key, value in keys.items() if not _takes_anything(value)}
        for operator, keys in tests.items()
        if isinstance(keys, dict) and not _PASSES_WITHOUT.search(str(operator))
    }


_PASSES_WITHOUT = re.compile(r"IfExists$|^ForAllValues:", re.IGNORECASE)


def _takes_anything(value: Any) -> bool:
    """Return whether a test's values hold one of nothing but wild cards, or a range that is a large part of all addresses."""
    return any(text and (not text.strip("*?") or _WIDE_RANGE.fullmatch(text)) for text in _plain_list(value))


_WIDE_RANGE = re.compile(r"\d[\d.]*/[0-7]|[\da-f]*:[\da-f:]*/(?:\d|1[0-5])", re.IGNORECASE)


def _plain_list(value: Any) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def opens_to_everybody(text: str) -> bool:
    """Return whether a policy in a request lets anybody in."""
    return any(grant.everybody for grant in grants_of(text))


def accounts_let_in(text: str) -> frozenset[str]:
    """Return the numbers of the accounts that the policies in a request let in."""
    return frozenset().union(*(grant.accounts for grant in grants_of(text)))


def lets_others_in(text: str, own: str | None) -> bool:
    """Return whether a policy in a request lets in an account other than our own, given by its number."""
    return bool(accounts_let_in(text) - {own})


def grants_everything(text: str) -> bool:
    """Return whether a policy in a request, one that names no principal, allows every action, or every one of IAM, on everything."""
    return any(
        not grant.to_somebody and "*" in grant.resources and not grant.actions.isdisjoint(("*", "*:*", "iam:*"))
        for grant in grants_of(text)
    )
