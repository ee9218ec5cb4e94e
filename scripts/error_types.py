"""The codes and reasons of errors as TypeScript types, from the sources: a new one is in them without being listed.

A code is ``code = "…"`` of a class whose base is an error, a reason is the first argument of ``.because(…)``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "hls", "signaling", "web")


def error_types() -> str:
    """``ErrorCode``, ``ErrorReason`` and ``FieldProblem`` as unions."""
    from gateway.config.faults import TEXTS
    from gateway.rendition import PAUSED_CODE, UNDECODABLE_CODE
    from web.middleware.errors import CODES, OTHER_CODE

    codes, reasons = {*CODES.values(), OTHER_CODE, PAUSED_CODE, UNDECODABLE_CODE}, set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                codes.update(_codes(node))
                reasons.update(_reasons(node))
    return (
        _union("ErrorCode", "`error` of an answer, and `error_code` of a camera", codes)
        + _union("ErrorReason", "`reason` of an answer; also `error_code` of a camera", reasons)
        + _union("FieldProblem", "`problem` among the `values` of `field_invalid`", {*TEXTS, "value_error"})
    )


def _codes(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.ClassDef) or not node.name.endswith("Error"):
        return
    for each in node.body:
        match each:
            case (
                ast.Assign(targets=[ast.Name("code")], value=ast.Constant(str(code)))
                | ast.AnnAssign(target=ast.Name("code"), value=ast.Constant(str(code)))
            ):
                yield code


def _reasons(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Attribute(attr="because"), args=[ast.Constant(str(reason)), *_]):
            yield reason
        case ast.Call(func=ast.Attribute(attr="because")):
            raise ValueError(f"{ast.unparse(node)}: write the reason as a literal")


def _union(name: str, about: str, values: set[str]) -> str:
    members = "".join(f'\n  | "{value}"' for value in sorted(values))
    return f"\n/** {about}. */\nexport type {name} ={members};\n"
