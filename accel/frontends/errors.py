"""What a frontend says about a file that it cannot read."""

from __future__ import annotations


class FrontendError(ValueError):
    """A model file that cannot be read: names the file, the node and its operator, the reason, and the way out."""

    def __init__(self, reason: str, hint: str, *, file: str, node: str = "", operator: str = "") -> None:
        self.file, self.node, self.operator, self.reason, self.hint = file, node, operator, reason, hint
        place = f"{file}: node {node} ({operator}): " if node else f"{file}: "
        super().__init__(f"{place}{reason}; {hint}")


class RefusalError(Exception):
    """Raised where the node at hand is not known; the interpreter adds file and node and raises FrontendError."""

    def __init__(
        self, reason: str, hint: str = "export the model again with constant, finite, well-formed values"
    ) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint
