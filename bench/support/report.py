"""What a proof found, line by line, and whether its goals are met."""

from dataclasses import dataclass

from bench.support import webrtc_load as load


@dataclass
class Result:
    """One line of the table."""

    what: str
    figure: str
    goal: str = ""
    is_met: bool = True


class Report:
    """The lines, in their order. Each is printed when it is known, and all of them at the end."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def add(self, what: str, figure: str, goal: str = "", *, is_met: bool = True) -> None:
        self.results.append(Result(what, figure, goal, is_met))
        print(f"    {what}: {figure}" + ("" if is_met else f"   MISSED: {goal}"), flush=True)

    def finish(self, name: str) -> None:
        """Print the table of a bench; exit with code 1 where a goal is missed."""
        print()
        for each in self.results:
            load.row(
                f"`{name}` {each.what}",
                each.figure,
                f"{each.goal}: {'met' if each.is_met else 'missed'}" if each.goal or not each.is_met else "",
            )
        missed = [each for each in self.results if not each.is_met]
        if missed:
            raise SystemExit(f"{len(missed)} goals are missed")
