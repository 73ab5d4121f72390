"""The only door to Cedar: parse, check against the schema, evaluate. Everything here fails closed.

Cedar has traps that this file closes, each with a test (cedar-policy 4.12):

* A policy that errors while it is evaluated is skipped, so an erroring ``forbid`` would leave an Allow. An answer with
  any error is not an Allow here.
* Without a schema, requests are not checked. There is no way to evaluate without one here.
* A policy is known by its position (``policy3``). Positions are turned into ``@id`` annotations here.
* Policy text handed over as text is parsed at every call. Handles are parsed once here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from pellucid.errors import BadFile, MissingExtra

__all__ = ["Answer", "Engine", "Rule", "parse"]

_TEXT: Final = r'"(?:[^"\\]|\\.)*"'
_LIST: Final = rf'\[((?:[^\]"]|{_TEXT})*)\]'
_ENUM: Final = re.compile(rf"^entity Role enum {_LIST}", re.MULTILINE)
_ACTION: Final = re.compile(rf"^action ({_TEXT}|\w+)(?: in {_LIST})? appliesTo \{{(.*?)^\}};", re.MULTILINE | re.DOTALL)
_RESOURCES: Final = re.compile(r"resource: (?:\[(.*?)\]|(\w+))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy of the file.

    Attributes:
        id: Its ``@id``, or None where it has none (an empty one counts as none).
        because: Its ``@because``, or the empty string.
        effect: ``permit`` or ``forbid``.
        line: Line of the file on which it begins, from 1.
        open: The parts of its scope that name nothing (of ``principal``, ``action``, ``resource``).
        conditional: It has a ``when`` or an ``unless``.
        names: The entities it names, as (type, name).
    """

    id: str | None
    because: str
    effect: str
    line: int
    open: frozenset[str]
    conditional: bool
    names: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What Cedar said to one request.

    Attributes:
        allowed: Cedar said Allow, under the schema, without any error.
        rules: The positions of the policies that determined it.
        errors: What Cedar could not do; none if ``allowed``.
        unfit: The entities of the call do not fit the schema, so no request of the call was looked at.
    """

    allowed: bool
    rules: tuple[int, ...]
    errors: tuple[str, ...]
    unfit: bool = False


@dataclass(frozen=True, slots=True)
class Engine:
    """A parsed policy set that fits its parsed schema. Made by :func:`parse`.

    Attributes:
        rules: The policies in the order of the file.
        roles: The roles that the schema lists (``entity Role enum [...]``), else those that the policies name.
        actions: The actions that apply to something, each with the types of resource it applies to.
    """

    rules: tuple[Rule, ...]
    roles: tuple[str, ...]
    actions: Mapping[str, tuple[str, ...]]
    _policies: Any = field(repr=False)
    _schema: Any = field(repr=False)

    def evaluate(
        self, entities: Sequence[Mapping[str, Any]], requests: Sequence[Mapping[str, Any]]
    ) -> tuple[Answer, ...]:
        """One answer a request, in order. Never an Allow where Cedar met an error.

        Args:
            entities: Entities in Cedar's JSON form, each at most once; all must fit the schema.
            requests: ``{principal, action, resource, context}`` with ``{"type", "id"}`` for the first three.
        """
        cedarpy = _cedarpy()
        try:
            handle = cedarpy.Entities.from_json_str(json.dumps(list(entities)), self._schema)
            results = cedarpy.is_authorized_batch(list(requests), self._policies, handle, self._schema)
        except (ValueError, TypeError) as error:
            return (Answer(False, (), (str(error),), unfit=True),) * len(requests)
        return tuple(_answer(cedarpy, result) for result in results)


def _answer(cedarpy: ModuleType, result: Any) -> Answer:
    errors = tuple(str(error) for error in result.diagnostics.errors)
    decided = result.decision is not cedarpy.Decision.NoDecision
    if not decided and not errors:
        errors = ("Cedar came to no decision",)
    rules = tuple(sorted(_position(policy) for policy in result.diagnostics.reasons))
    return Answer(result.decision is cedarpy.Decision.Allow and not errors, rules, errors)


def parse(policies: str, schema: str, *, policies_at: str, schema_at: str) -> Engine:
    """The engine for ``policies`` under ``schema``.

    Args:
        policies: Cedar policy text.
        schema: Cedar schema text.
        policies_at: Name of the policy file, for errors.
        schema_at: Name of the schema file, for errors.

    Raises:
        BadFile: Either does not parse, or the policies do not fit the schema. Names the line where it can be told.
        MissingExtra: cedarpy is not installed.
    """
    cedarpy = _cedarpy()
    try:
        schema_handle = cedarpy.Schema.from_str(schema)
    except ValueError as error:
        raise BadFile(f"not a Cedar schema: {error}", where=_at(schema_at, schema, error)) from error
    pieces = list(_statements(policies))
    try:
        policy_handle = cedarpy.PolicySet.from_str(policies)
        tree = policy_handle.to_pst()
    except ValueError as error:
        raise BadFile(f"not Cedar: {error}", where=_first_broken(cedarpy, pieces, policies_at)) from error
    if tree.templates:
        line = min(_line(pieces, name) for name in tree.templates)
        raise BadFile(
            "a policy with ?principal or ?resource allows nothing by itself",
            where=f"{policies_at}:{line}",
            fix="name the role or the resource in the policy",
        )
    rules = tuple(
        _rule(cedarpy, tree.static_policies[name], _line(pieces, name))
        for name in sorted(tree.static_policies, key=_position)
    )
    _validate(cedarpy, policies, schema_handle, rules, policies_at)
    text = str(schema_handle)
    listed = _ENUM.search(text)
    named = {name for rule in rules for kind, name in rule.names if kind == "Role"}
    try:
        roles = json.loads(f"[{listed[1]}]") if listed else sorted(named)
        actions = _actions(text)
    except ValueError as error:  # Cedar's texts escape more than JSON's do
        raise BadFile("a role or an action has a name that cannot be read", where=schema_at) from error
    return Engine(rules, tuple(roles), actions, policy_handle, schema_handle)


def _validate(cedarpy: ModuleType, policies: str, schema: Any, rules: Sequence[Rule], where: str) -> None:
    result = cedarpy.validate_policies(policies, schema)
    if result.validation_passed:
        return
    said, first = [], None
    for error in result.errors:
        text = str(error.error)
        if error.policy_id:
            rule = rules[_position(error.policy_id)]
            first = first or rule.line
            text = text.removeprefix(f"for policy `{error.policy_id}`").lstrip(",: ")
            text = f'policy "{rule.id}" (line {rule.line}): {text}' if rule.id else f"line {rule.line}: {text}"
        if text not in said:
            said.append(text)
    raise BadFile(
        "the policies do not fit the schema: " + "; ".join(said or ["Cedar does not say why"]),
        where=f"{where}:{first}" if first else where,
        fix="use the types, actions and attributes that the .cedarschema file declares",
    )


def _rule(cedarpy: ModuleType, node: Any, line: int) -> Rule:
    pst = cedarpy.pst
    scope = {"principal": node.principal, "action": node.action, "resource": node.resource}
    return Rule(
        id=node.annotations.get("id") or None,
        because=node.annotations.get("because", ""),
        effect=node.effect,
        line=line,
        open=frozenset(name for name, part in scope.items() if isinstance(part, pst.ScopeAny)),
        conditional=bool(node.clauses),
        names=frozenset((str(uid.type), uid.id) for uid in pst.entity_uids(node)),
    )


def _actions(schema: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, _, body in _ACTION.findall(schema):
        match = _RESOURCES.search(body)
        kinds = re.findall(r"\w+", match[1] or match[2]) if match else []
        found[json.loads(name) if name.startswith('"') else name] = tuple(kinds)
    return found


def _position(policy: str) -> int:
    return int(policy.removeprefix("policy"))


def _line(pieces: Sequence[tuple[int, str]], policy: str) -> int:
    position = _position(policy)
    return pieces[position][0] if position < len(pieces) else 1


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each policy of ``text`` with the line on which it begins: Cedar's own errors name neither."""
    line, start, piece = 1, 1, ""
    for part in re.findall(r'//[^\n]*|"(?:[^"\\]|\\.)*"|;|\n|[^\S\n]+|[^\s;"/]+|.', text, re.DOTALL):
        if not piece and (part.isspace() or part.startswith("//")):
            line += part.count("\n")
            continue
        if not piece:
            start = line
        piece += part
        line += part.count("\n")
        if part == ";":
            yield start, piece
            piece = ""
    if piece:
        yield start, piece


def _first_broken(cedarpy: ModuleType, pieces: Sequence[tuple[int, str]], where: str) -> str:
    for start, piece in pieces:
        try:
            cedarpy.PolicySet.from_str(piece).to_pst()
        except ValueError as error:
            return _at(where, piece, error, start=start, known=True)
    return where


def _at(where: str, text: str, error: Exception, *, start: int = 1, known: bool = False) -> str:
    """``where:line:column`` if the token that the error names stands in ``text`` once, else what is known."""
    token = re.search(r"unexpected token `(.+?)`", str(error))
    if token:
        places = [match.start() for match in re.finditer(rf"(?<!\w){re.escape(token[1])}(?!\w)", text)]
        if len(places) == 1:
            before = text[: places[0]]
            column = places[0] - (before.rfind("\n") + 1) + 1
            # a piece may begin in the middle of a line, so its first line has no known column
            exact = "\n" in before or not known
            return f"{where}:{start + before.count(chr(10))}" + (f":{column}" if exact else "")
    return f"{where}:{start}" if known else where


def _cedarpy() -> ModuleType:
    try:
        import cedarpy  # an extra, and a tenth of a second that other verbs need not pay
    except ImportError as error:
        raise MissingExtra(
            "deciding about access needs cedarpy", where="access", fix="pip install 'pellucid[vault]'"
        ) from error
    module: ModuleType = cedarpy
    return module
