"""The shape of the code base: import order, chains, docstrings. `scripts/house_figures.py` counts the rest."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from conftest import LONG
from scripts.house_figures import OUTSIDE, cycles, imports, longest_chain, module_name, packages, tracked

ROOT = Path(__file__).resolve().parent.parent
LONGEST_CHAIN = 12  # modules
# What a first word that is no imperative looks like; a verb that is not listed here passes.
NO_VERBS = frozenset(
    [
        "A",
        "All",
        "An",
        "Another",
        "Any",
        "As",
        "At",
        "Both",
        "By",
        "Does",
        "Each",
        "Every",
        "Everything",
        "For",
        "From",
        "How",
        "If",
        "In",
        "Is",
        "It",
        "Its",
        "Nothing",
        "None",
        "No",
        "Of",
        "On",
        "One",
        "Only",
        "Other",
        "Our",
        "So",
        "Some",
        "Something",
        "That",
        "The",
        "Their",
        "These",
        "They",
        "This",
        "Those",
        "Two",
        "What",
        "When",
        "Where",
        "Whether",
        "Which",
        "Who",
        "Whose",
        "Why",
        "With",
    ]
)


@cache
def trees() -> dict[str, ast.Module]:
    """Parse every module of the product: where a test asks for it, as each process collects the tests."""
    product = [
        path for path in tracked(ROOT) if path.suffix == ".py" and path.relative_to(ROOT).parts[0] not in OUTSIDE
    ]
    return {module_name(ROOT, path): ast.parse(path.read_text("utf-8")) for path in product}


def graph(*, lazy: bool) -> dict[str, set[str]]:
    modules = set(trees())
    return {name: imports(tree, modules, lazy=lazy) - {name} for name, tree in trees().items()}


def first_words():
    """(place, word) of the docstring of every function that has one; what is a property or an attribute describes itself."""
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            text = ast.get_docstring(node)
            if text and not decorators & {"property", "cached_property", "abstractmethod"}:
                yield f"{name}.{node.name}", text.split()[0]


def test_no_chain_of_imports_is_longer_than_twelve_modules():
    chain = longest_chain(graph(lazy=False))

    assert len(chain) <= LONGEST_CHAIN, " -> ".join(chain)


@pytest.mark.parametrize("fold", [dict, packages], ids=["modules", "packages"])
def test_no_imports_go_in_a_circle(fold):
    assert cycles(fold(graph(lazy=True))) == []


def test_a_docstring_begins_with_an_imperative():
    wrong = [
        f"{place}: {word}"
        for place, word in first_words()
        if word.strip(",.:`") in NO_VERBS or word[0] in "`0123456789"
    ]

    assert wrong == []


def test_a_chain_and_a_circle_are_seen():
    lines = {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"c"}}

    assert longest_chain(lines) == ["a", "b", "c"]
    assert (cycles(lines), cycles(lines | {"c": {"a"}})) == ([], [["a", "b", "c"]])


def test_the_files_of_tests_that_run_first_are_there():
    assert [name for name in LONG if not (ROOT / "tests" / f"test_{name}.py").is_file()] == []


def test_nothing_is_decided_by_a_path_that_holds_the_root_path_too():
    """`get_route_path(scope)` is what the router reads; below a root path, `scope["path"]` is another (a fence was off there)."""
    texts = {path: path.read_text("utf-8") for path in [*ROOT.glob("app_runtime/*.py"), *ROOT.glob("demo/*.py")]}
    assert [
        path.name for path, text in texts.items() if re.search(r"""scope\[["']path["']\](?!\[:)|url\.path""", text)
    ] == []
