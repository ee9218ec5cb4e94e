"""The codes and reasons of errors as TypeScript types, from the sources: a new one is in them without being listed.

A code is ``code = "…"`` of a class whose base is an error, a reason is the first argument of ``.because(…)``.

The sentence of an error may tell a program what to do: ``PATCH changes it``. The page has a sentence of its own for
each of these, also in English. So they need a reason.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "hls", "signaling", "web")

OF_API = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE)\b|\bAPI\b|/api/|\bAuthorization\b")
"""What only the author of a program reads without a question."""

OF_PAGE = frozenset(
    {"NotFoundError", "ConflictError", "BadRequestError", "UnauthorizedError", "ForbiddenError", "UnavailableError"}
    | {"_WrongTokenError", "ExpiredError"}
)
"""Errors whose sentences the page may show."""


def error_types() -> str:
    """``ErrorCode``, ``ErrorReason`` and ``FieldProblem`` as unions."""
    from gateway.config.faults import TEXTS
    from gateway.rendition import PAUSED_CODE, UNDECODABLE_CODE
    from web.middleware.errors import CODES, OTHER_CODE

    codes, reasons = {*CODES.values(), OTHER_CODE, PAUSED_CODE, UNDECODABLE_CODE}, set()
    of_api = {PAUSED_CODE}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                codes.update(_codes(node))
                reasons.update(_reasons(node))
            of_api.update(_reasons_of_api(tree, path))
    return (
        _union("ErrorCode", "`error` of an answer, and `error_code` of a camera", codes)
        + _union("ErrorReason", "`reason` of an answer; also `error_code` of a camera", reasons)
        + _union("ApiReason", "A reason or code whose sentence, by the gateway, speaks of the API", of_api)
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


def _reasons_of_api(tree: ast.Module, path: Path) -> Iterator[str]:
    """Of the errors whose sentence speaks of the API. Raises ``ValueError`` for one without a reason."""
    constants = {
        target.id: each.value
        for each in tree.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }
    with_reason: dict[ast.AST, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="because", value=error), args=[ast.Constant(str(reason)), *_]):
                with_reason[error] = reason
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(name), args=[sentence, *_]) if name in OF_PAGE:
                if isinstance(sentence, ast.Name):
                    sentence = constants.get(sentence.id, sentence)
                if not OF_API.search(_text(sentence)):
                    continue
                if node not in with_reason:
                    raise ValueError(f"{path}:{node.lineno}: the sentence speaks of the API: give it a reason")
                yield with_reason[node]


def _text(sentence: ast.expr) -> str:
    """What is constant in it."""
    return " ".join(
        each.value for each in ast.walk(sentence) if isinstance(each, ast.Constant) and str is type(each.value)
    )


def _union(name: str, about: str, values: set[str]) -> str:
    members = "".join(f'\n  | "{value}"' for value in sorted(values))
    return f"\n/** {about}. */\nexport type {name} ={members};\n"
