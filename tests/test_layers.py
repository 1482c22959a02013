"""The arrows of docs/design.md, read from the sources: imports, cimports and #includes run one way."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "callreplay"
NATIVE = ROOT / "native"

# Each room may use itself, the ground floor and what stands here. A room that is not listed fails the test.
GROUND = {
    "addresses",
    "arrays",
    "errors",
    "evidence",
    "codecs",
    "model",
    "clock",
    "cores",
    "deferred",
    "gaps",
    "instances",
    "parameters",
    "spare",
    "_core",
    "_version",
}
ALLOWED: dict[str, set[str]] = {
    "addresses": set(),
    "arrays": set(),
    "errors": set(),
    "evidence": set(),
    "codecs": set(),
    "model": set(),
    "clock": set(),
    "cores": set(),
    "deferred": set(),
    "gaps": set(),
    "instances": set(),
    "spare": set(),
    "parameters": set(),
    "_version": set(),
    "packets": set(),
    "signalling": set(),
    "order": {"packets"},
    "audio": set(),
    "outputs": set(),
    "report": {"audio"},
    "pieces": {"audio", "outputs"},
    "transcripts": set(),
    "sources": {"packets", "signalling", "order"},
    "reopening": set(),
    "leg": {"order", "audio", "reopening"},
    "call": {"packets", "order", "audio", "outputs", "leg", "pieces", "reopening", "report", "transcripts"},
    "capture": {"packets", "signalling", "order", "audio", "sources", "reopening", "leg", "call"},
    "store": set(),
    "splitting": {"packets", "signalling"},
    "importing": {
        "packets",
        "signalling",
        "order",
        "audio",
        "call",
        "capture",
        "outputs",
        "store",
        "sources",
        "splitting",
    },
    "recording": {"packets", "signalling", "splitting", "importing", "store"},
    "batch": {"packets", "capture", "audio", "outputs", "store"},
    "live": {"packets", "splitting", "audio", "capture", "outputs", "store"},
    "service": {"capture", "outputs", "store", "live", "importing", "batch"},
    "cli": {
        "transcripts",
        "packets",
        "capture",
        "outputs",
        "store",
        "importing",
        "recording",
        "batch",
        "service",
    },
    "torch": {"audio", "capture"},
    "__init__": {"capture", "audio", "outputs", "batch"},
    "__main__": {"cli"},
}
# Native rooms: which folders a folder may include besides itself, lanes and the public headers.
NATIVE_ALLOWED: dict[str, set[str]] = {
    "lanes": set(),
    "decode": set(),
    "mix": {"decode"},
    "encode": set(),
    "raster": set(),
    "speech": set(),
    "conveyor": {"decode", "mix"},
}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").removesuffix(".pyx").removesuffix(".pxd")


def _python_imports(path: Path) -> set[str]:
    found = set()
    tree = ast.parse(path.read_text())
    # What only the type checker sees is no arrow.
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"callreplay.{alias.name}" for alias in node.names]
                if node.module == "callreplay"
                else [node.module]
            )
        found |= {name.split(".")[1] for name in names if name.startswith("callreplay.")}
    return found


def _cython_imports(path: Path) -> set[str]:
    return set(re.findall(r"^\s*(?:from|c?import)\s+callreplay\.(\w+)", path.read_text(), re.MULTILINE))


PYTHON = sorted(p for p in PACKAGE.rglob("*.py") if "migrations" not in p.parts)
CYTHON = sorted([*PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.pxd")])


@pytest.mark.parametrize("path", [*PYTHON, *CYTHON], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_python_arrows_run_one_way(path: Path) -> None:
    room = _room(path)
    if room == "capi":
        return
    assert room in ALLOWED, f"{room} is a new room: give it its place in docs/design.md and here"
    imports = _python_imports(path) if path.suffix == ".py" else _cython_imports(path)
    wrong = imports - {room} - GROUND - ALLOWED[room] - {"__version__"}
    assert not wrong, f"{path.relative_to(ROOT)} uses {sorted(wrong)}"


@pytest.mark.parametrize(
    "path", sorted([*NATIVE.rglob("*.cpp"), *NATIVE.rglob("*.h")]), ids=lambda p: str(p.relative_to(NATIVE))
)
def test_native_arrows_run_one_way(path: Path) -> None:
    parts = path.relative_to(NATIVE).parts
    if len(parts) == 1 or parts[0] == "include":
        return
    included = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
    rooms = {name.split("/")[0] for name in included if "/" in name} - {"callreplay", parts[0], "lanes"}
    rooms &= {folder.name for folder in NATIVE.iterdir() if folder.is_dir()}
    assert rooms <= NATIVE_ALLOWED[parts[0]], f"{path.relative_to(ROOT)} includes {sorted(rooms)}"


def test_python_is_unknown_to_the_native_side() -> None:
    for path in [*NATIVE.rglob("*.cpp"), *NATIVE.rglob("*.h")]:
        assert not re.search(r"Python\.h|pybind11", path.read_text()), path


def test_sql_stands_in_the_store_only() -> None:
    statement = re.compile(
        r"\b(?:SELECT\s.+\sFROM|INSERT\s+INTO|DELETE\s+FROM|CREATE\s+TABLE|UPDATE\s+\w+\s+SET)\b"
    )
    for path in PYTHON:
        if _room(path) != "store":
            assert not statement.search(path.read_text()), f"SQL outside store/: {path.relative_to(ROOT)}"


def _modules(path: Path) -> set[str]:
    """The modules of ours that a module imports when it is imported itself: inside functions it may be late."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("callreplay"):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_no_two_modules_need_each_other() -> None:
    names = {".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts): p for p in PYTHON}
    needs = {name: _modules(path) & names.keys() for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way[way.index(name) :], name))
        if name not in done:
            for each in sorted(needs[name]):
                visit(each, (*way, name))
            done.add(name)

    for name in names:
        visit(name, ())


def test_the_files_that_are_dealt_out_first_are_there() -> None:
    from tests.conftest import LONG

    tests = ROOT / "tests"
    assert not [name for name in LONG if not (tests / f"{name}.py").is_file()]
    assert len(set(LONG)) == len(LONG)
