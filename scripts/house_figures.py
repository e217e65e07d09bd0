#!/usr/bin/env python3
"""Print the figures by which the code base is kept small: python scripts/house_figures.py [CHECKOUT]

Counts the product, which is every Python file outside tests/ and scripts/. "Code" leaves out blank lines, comments and
docstrings. A chain counts modules, from the importer to what imports nothing of ours, along imports at module level.
"""

import argparse
import ast
import io
import subprocess
import tokenize
from collections import defaultdict
from functools import cache
from pathlib import Path

OUTSIDE = ("tests", "scripts")
SAME_LINES = 6  # a pair of places counts from so many equal lines on


def tracked(root: Path) -> list[Path]:
    """List the files of the checkout that git knows or would take, without what it ignores."""
    shown = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [root / name for name in sorted(set(shown.split("\0"))) if name and (root / name).is_file()]


def module_name(root: Path, path: Path) -> str:
    """Name the module that a file holds."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def docstring_lines(tree: ast.AST) -> set[int]:
    """Collect the lines that docstrings cover."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def code_lines(text: str, tree: ast.AST) -> set[int]:
    """Collect the lines that hold code."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines - docstring_lines(tree)


def import_lines(tree: ast.AST) -> set[int]:
    """Collect the lines that imports cover."""
    return {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def public_names(tree: ast.Module) -> int:
    """Count what a module defines without an underscore: classes, functions, constants."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
    return sum(not name.startswith("_") for name in names)


def imports(tree: ast.Module, modules: set[str], *, lazy: bool) -> set[str]:
    """Name the modules of ours that a module imports, at module level or anywhere."""
    found: set[str] = set()
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree) if lazy else tree.body:
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= submodules
            if len(submodules) < len(node.names):
                found.add(node.module or "")
    return found


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """Find the longest way from module to module; a module that stands on a cycle is visited once."""
    under_way: set[str] = set()

    @cache
    def below(name: str) -> tuple[str, ...]:
        under_way.add(name)
        ways = [below(other) for other in graph[name] if other not in under_way]
        under_way.discard(name)
        return (name, *max(ways, key=len, default=()))

    return list(max((below(name) for name in graph), key=len))


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find the groups of nodes that reach each other (strongly connected, two or more)."""

    def reached(start: str, edges: dict[str, set[str]]) -> set[str]:
        seen, todo = set(), [start]
        while todo:
            for other in edges[todo.pop()]:
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    reach = {name: reached(name, graph) for name in graph}
    groups = {frozenset(b for b in graph if b in reach[a] and a in reach[b]) for a in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def functions(tree: ast.Module, code: set[int]) -> list[tuple[int, str]]:
    """Give each function's code lines and name."""
    return [
        (len(code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1))), node.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def packages(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Fold a graph of modules into one of top-level packages."""
    folded: dict[str, set[str]] = defaultdict(set)
    for name, others in graph.items():
        top = name.partition(".")[0]
        folded[top] |= {other.partition(".")[0] for other in others} - {top}
    return {name: folded[name] for name in folded}


def equal_pairs(bodies: dict[str, list[str]]) -> int:
    """Count the pairs of places, in any two files or in one, that share six or more consecutive stripped code lines, imports aside."""
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, lines in bodies.items():
        for start in range(len(lines) - SAME_LINES + 1):
            places[tuple(lines[start : start + SAME_LINES])].append((name, start))
    pairs: set[tuple[str, str, int]] = set()
    for group in places.values():
        for index, (a, i) in enumerate(group):
            for b, j in group[index + 1 :]:
                pairs.add((a, b, j - i))  # windows that slide along the same pair have the same distance
    return len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the figures by which the code base is kept small.")
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("checkout", nargs="?", default=here, type=Path, metavar="CHECKOUT", help="default: this one")
    root = parser.parse_args().checkout.resolve()
    if not (root / ".git").exists():
        parser.error(f"expected a git checkout, and got {str(root)!r}")
    files = tracked(root)
    product = [path for path in files if path.suffix == ".py" and path.relative_to(root).parts[0] not in OUTSIDE]
    tests = [path for path in files if path.suffix == ".py" and path.relative_to(root).parts[0] == "tests"]
    modules = {module_name(root, path) for path in product}
    code = names = 0
    top, everywhere, long, bodies = {}, {}, [], {}
    for path in product:
        text, name = path.read_text(), module_name(root, path)
        tree = ast.parse(text)
        lines = code_lines(text, tree)
        code, names = code + len(lines), names + public_names(tree)
        top[name] = imports(tree, modules, lazy=False) - {name}
        everywhere[name] = imports(tree, modules, lazy=True) - {name}
        long += [(size, f"{name}.{function}") for size, function in functions(tree, lines)]
        kept = lines - import_lines(tree)
        bodies[name] = [line.strip() for number, line in enumerate(text.splitlines(), 1) if number in kept]
    chain = longest_chain(top)
    size, function = max(long)
    print(f"product files         {len(product)}")
    print(f"product code lines    {code}")
    print(f"public names          {names}")
    test_code = sum(len(code_lines(path.read_text(), ast.parse(path.read_text()))) for path in tests)
    print(f"test code lines       {test_code}")
    print(f"longest import chain  {len(chain)}: {' -> '.join(chain)}")
    print(f"package cycles        {cycles(packages(everywhere)) or 'none'}")
    print(f"module cycles         {cycles(everywhere) or 'none'}")
    print(f"own imports in functions  {sum(len(everywhere[name] - top[name]) for name in modules)}")
    print(f"pairs of six equal lines  {equal_pairs(bodies)}")
    print(f"longest function      {size}: {function}")
    print(f"tree without .git     {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
