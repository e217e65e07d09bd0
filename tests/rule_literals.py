"""Collect what a rule compares with: the literals of its body, its decorator, and of the helpers and constants that these name.

Not collected, by kind: positions, names that the schema gives (fields, activities, event types), what a finding is made of (its scope, its program),
meanings of commands, and what the playbook defines for all rules (`SHARED`), which a rule's words must call by name.
"""

import ast
import copy
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import get_args

from schema import FIELDS_OF, UNNAMED_PROGRAM_WORK
from verifier import calls, parameters, policies, window
from verifier.commands import _PATTERNS
from verifier.rules import kit
from verifier.window import Rule, Scope, kinds

# Constants that the playbook spells out once, and the word by which rules call each.
SHARED = {
    "SHELLS": "shell",
    "SERVER_PROGRAMS": "server program",
    "MANAGERS": "manager of windows",
    "ELEVATED": "auto-elevated",
    "CODE_HOSTS": "script host",
    "is_loose": "loose",
    "program_folder": "program folder",
    "is_own": "its own",
    "registers_itself": "its own",
    "fetches_code": "download",
    "is_by_service": "own service",
    "is_by_automation": "web identity",
    "grants_of": "effect allow",
}
SHARED_MODULES = (kit.__name__, calls.__name__, parameters.__name__, policies.__name__)  # whose helpers rules call
# Helpers that read how logs write numbers, command lines, and requests to a cloud.
SYNTAX_HELPERS = {
    "number_in_hex",
    "has_bits",
    "program_of",
    "shell_name",
    "operation_of",
    "calls_by_operation",
    "is_call_to",
    "lower",
    "names_of",
    "identity_of",
    "resources_of",
    "opened",
    "_statement_type",
    "objects_in",
    "facts_of",
    "facts_in",
}
WIRING = {
    "scope",
    "program",
    "account",
    "host",
    "remote",
    "otherwise",
    "summary",
    "source",
    "meaning",
    "clues",
    "technique",
    "tactic",
    "maxsize",
}
GIVEN_NAMES = {
    *FIELDS_OF,
    *get_args(Scope),
    *UNNAMED_PROGRAM_WORK,
    *_PATTERNS,
    "setting",
    "hidden-start",
    "encoded-stager",
    "delete",  # what is done to a value
    *(name for fields in FIELDS_OF.values() for name in fields.model_fields),
    *(activity for fields in FIELDS_OF.values() for _, activity in kinds(fields)),
}


class Literals:
    """The sources of rules, by module, from which each rule's literals are read."""

    def __init__(self, sources: dict[str, str] | None = None) -> None:
        self._trees = {name: ast.parse(source) for name, source in (sources or {}).items()}

    def of(self, rule: Rule) -> Iterator[str | int]:
        """Yield the literals of a rule."""
        module = module_of(rule)
        yield from self._walk(module, self._rule_node(module, rule.rule_id), set())

    def of_name(self, name: str) -> Iterator[str | int]:
        """Yield the literals of a shared constant or helper."""
        for module in (*SHARED_MODULES, window.__name__):
            node = definition(self._tree(module), name)
            if node is not None:
                yield from self._walk(module, node, {name})

    def _tree(self, module: str) -> ast.Module:
        if module not in self._trees:
            self._trees[module] = ast.parse(inspect.getsource(sys.modules[module]))
        return self._trees[module]

    def _rule_node(self, module: str, rule_id: str) -> ast.AST:
        for node in self._tree(module).body:
            calls = node.decorator_list if isinstance(node, ast.FunctionDef) else [getattr(node, "value", None)]
            for place, call in enumerate(calls):
                if isinstance(call, ast.Call) and call.args and getattr(call.args[0], "value", None) == rule_id:
                    node = copy.deepcopy(node)
                    calls = node.decorator_list if isinstance(node, ast.FunctionDef) else [node.value]
                    calls[place].args = []  # its id, technique and tactic
                    return node
        raise AssertionError(f"there is no rule {rule_id} in {module}")

    def _walk(self, module: str, node: ast.AST, met: set[str]) -> Iterator[str | int]:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str | int) and not isinstance(node.value, bool):
                yield node.value
            return
        if isinstance(node, ast.keyword) and node.arg in WIRING:
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in met:
            met.add(node.id)
            yield from self._named(module, node.id, met)
        for field, child in ast.iter_fields(node):
            if field in ("annotation", "returns", "slice", "type_params"):
                continue
            for part in child if isinstance(child, list) else [child]:
                if isinstance(part, ast.AST):
                    yield from self._walk(module, part, met)

    def _named(self, module: str, name: str, met: set[str]) -> Iterator[str | int]:
        if name in SHARED:
            yield SHARED[name]
        if name in SHARED or name in SYNTAX_HELPERS:
            return
        for where in (module, *SHARED_MODULES, window.__name__, "verifier.commands", "schema"):
            node = definition(self._tree(where), name)
            if node is not None and (where in (module, *SHARED_MODULES) or name.isupper()):
                yield from self._walk(where, node, met)
                return


@cache
def definition(tree: ast.Module, name: str) -> ast.AST | None:
    """Return the function or the value that a module gives a name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == name for target in node.targets):
            return node.value
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == name:
            return node.value
    return None


def module_of(rule: Rule) -> str:
    """Return the name of the tactic module that lists a rule."""
    for name, module in sys.modules.items():
        if (
            name.startswith("verifier.rules.")
            and isinstance(module, ModuleType)
            and rule in getattr(module, "RULES", ())
        ):
            return name
    raise AssertionError(f"no tactic lists {rule.rule_id}")


# What logs write around a name: hives and keys of classes, SIDs, devices, variables, a success, a default value.
LOG_SYNTAX = re.compile(
    r"^(?:hk\w+|_?classes|clsid|default|device|harddiskvolume|0x0?|s-1-5-21|%\w+%|https?)$", re.IGNORECASE
)


def words_of(literal: str | int) -> Iterator[str]:
    """Yield what a sentence must say of a literal: a number, a text without .exe, or the words of a pattern."""
    if isinstance(literal, int):
        words = [str(literal)] if literal > 1 else []
    elif re.search(r"[\\(|?*\[^]", literal):
        text = literal.replace("\\\\", " ").replace("\\.", ".")
        text = re.sub(r"%\w+%|\\[bswdSWDxu]|\(\?[:!=<]+|\{[\d,]+\}|\[[^\]]*\]|[?*+]", " ", text)
        words = [word.strip("-_.") for word in re.findall(r"[A-Za-z][\w-]{3,}", text)]
    else:
        words = [literal.removesuffix(".exe").strip()] if re.search(r"\w", literal) else []
    return (word.lower() for word in words if word.lower() not in GIVEN_NAMES and not LOG_SYNTAX.match(word.strip("-")))


def untold(rule: Rule, literals: Literals) -> list[str]:
    """List what a rule compares with and its words do not say."""
    return missing(rule.summary, literals.of(rule))


def missing(text: str, literals: Iterable[str | int]) -> list[str]:
    """List the words of literals that a text does not hold; numbers may stand in hexadecimal digits."""
    text = text.lower()
    numbers = {*re.findall(r"\d+", text), *(str(int(digits, 16)) for digits in re.findall(r"0x([0-9a-f]+)", text))}
    return sorted(
        {
            word
            for literal in literals
            for word in words_of(literal)
            if (word not in numbers if isinstance(literal, int) else word not in text)
        }
    )
