"""Moves vLLM's index of compiled graphs, ``vllm_compile_cache.py``, to another directory.

The file is a Python literal that vLLM reads with ``ast.literal_eval`` and writes with ``pprint``:
``{((1, 512), 0, 'inductor_standalone'): {'cache_key': 'a5…', 'graph_handle': ('artifact_…',
'<VLLM_CACHE_ROOT>/torch_compile_cache/<hash>/rank_0_0/backbone/artifact_…')}}`` in vLLM 0.33.0; in
0.11.0 the value is the handle alone, and the range a number or None. 0.11.0 opens the path as it
stands, 0.33.0 takes only its last part from the handle. Source: of both, compilation/backends.py
(CompilerManager) and compilation/compiler_interface.py.

Here it is rewritten as text: nothing is evaluated, and anything that such a literal does not
consist of is refused. How its parts are put together is left to vLLM, which evaluates nothing
either.
"""

import re
from typing import Final

from gkm.api.errors import Rejected

INDEX: Final = "vllm_compile_cache.py"
ROOT: Final = "torch_compile_cache/"
_MOST_PATHS: Final = 4000
"""One path for each graph and range of sizes: models have hundreds."""

_STRING: Final = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_TOKEN = re.compile(
    rf"(?P<text>(?:{_STRING})(?:\s+(?:{_STRING}))*)"
    r"|[\s{}()\[\]:,=]+|-?[0-9]{1,20}|None|True|False|Range|start|end"
)
_PART = re.compile(_STRING)
_PARTS = re.compile(rf"(?:{_STRING})(?:\s+(?:{_STRING}))*")


def move(path: str, content: bytes, mount_path: str) -> bytes:
    """Point absolute paths below a ``torch_compile_cache`` to the same place in ``mount_path``.

    All other text stays as it is. Raises Rejected(BadCache).
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _bad(path, "is no UTF-8") from None
    if not text.startswith("{"):
        raise _bad(path, "does not begin with '{'")
    moved, pieces, position = 0, [], 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            line = text.count("\n", 0, position) + 1
            raise _bad(path, f"is no index of compiled graphs (line {line})")
        piece = _moved(path, token["text"], mount_path) if token["text"] else ""
        moved += bool(piece)
        if moved > _MOST_PATHS:
            raise _bad(path, f"names more than {_MOST_PATHS} files")
        pieces.append(piece or token[0])
        position = token.end()
    return "".join(pieces).encode()


def homes(content: bytes) -> set[str]:
    """Return the directories that its paths lie in: what VLLM_CACHE_ROOT was, or is."""
    found = set()
    for literals in _PARTS.findall(content.decode(errors="replace")):
        value = "".join(part[1:-1] for part in _PART.findall(literals))
        home, inside, _ = value.rpartition(f"/{ROOT}")
        if inside and home.startswith("/"):
            found.add(home)
    return found


def _moved(path: str, literals: str, mount_path: str) -> str:
    """Return the literal for a path of the cache, moved; "" for any other text.

    ``pprint`` breaks a long path at blanks into several literals in a row.
    """
    if ROOT not in literals:
        return ""
    if "\\" in literals:
        raise _bad(path, "holds a path with a backslash")
    value = "".join(part[1:-1] for part in _PART.findall(literals))
    _, found, below = value.rpartition(f"/{ROOT}")
    return repr(f"{mount_path}/{ROOT}{below}") if found and value.startswith("/") else ""


def _bad(path: str, why: str) -> Rejected:
    return Rejected("BadCache", f"'{path:.200}' {why}; vLLM writes a dictionary of literals")
