"""Errors of the served API: an HTTP status, and what was wrong in OpenAI's words."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.errors import ContextFullError, FormatError, ParameterError, TemplateError, WorkbenchError


@dataclass(frozen=True, slots=True)
class ApiError(Exception):
    """A request that is refused or failed."""

    status: int
    kind: str
    """OpenAI's type of the error, such as `invalid_request_error`."""
    message: str
    param: str | None = None
    """The field of the body that is wrong."""
    code: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers that tell a client whether to try again."""
        if self.status == 503:
            return {"Retry-After": "1"}
        return {"x-should-retry": "false"} if self.status >= 500 else {}

    @property
    def document(self) -> dict[str, object]:
        """The body, in OpenAI's form."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A body that cannot be honoured."""
    return ApiError(400, "invalid_request_error", message, param, code)


def from_workbench(error: WorkbenchError) -> ApiError:
    """An error of the engine, as the client sees it."""
    text = f"{error} {error.hint}".strip()
    if isinstance(error, ContextFullError):
        return ApiError(400, "exceed_context_size_error", text, code="context_length_exceeded")
    if isinstance(error, ParameterError | FormatError | TemplateError):
        return invalid(text)
    return ApiError(500, "server_error", text)
