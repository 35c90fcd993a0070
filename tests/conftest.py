"""What holds for every test: a scrubbed environment, reproducible properties, no blocked event loop."""

import inspect
import os
from collections.abc import Iterator

# Before anything is imported that reads them. Settings of the tests themselves are called PERSONA_TEST_*, and
# DATABASE_URI names a PostgreSQL for them, REDIS_URI a Redis.
_FOREIGN = ("LANGSMITH", "LANGCHAIN", "LANGGRAPH", "OPENAI", "ANTHROPIC", "CHROMA")
for _name in list(os.environ):
    if _name.upper().startswith(_FOREIGN) or _name.upper().endswith("_PROXY"):
        del os.environ[_name]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["ANONYMIZED_TELEMETRY"] = "False"

import pytest  # noqa: E402
from blockbuster import blockbuster_ctx  # noqa: E402
from hypothesis import settings  # noqa: E402

from tests.postgres import postgres  # noqa: E402, F401

settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _no_blocked_event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """In an async test, a blocking call made from inside the package is an error."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    with blockbuster_ctx("langchain_persona"):
        yield
