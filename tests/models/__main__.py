"""Fetch model files: `python -m tests.models qwen2.5-coder-0.5b`."""

import sys

from tests.models import MODELS, fetch

wanted = sys.argv[1:]
if not wanted or set(wanted) - set(MODELS):
    raise SystemExit(f"usage: python -m tests.models NAME …   (names: {', '.join(MODELS)})")
for name in wanted:
    print(fetch(name))
