"""A provider of AI models that runs offline, keeps its limits strictly and a ledger of everything.

    python -m examples.fakegemini --port 8765 --rpm 60 --ledger ledger.jsonl

It speaks as Gemini does (texts, images, video operations), has an images endpoint in OpenAI's and a
messages endpoint in Anthropic's manner, and fails as they do. See README.md beside this file.
"""

from examples.fakegemini.calls import Prices
from examples.fakegemini.ledger import Entry, Ledger, most_within, prompt_hash, read
from examples.fakegemini.limits import Limits
from examples.fakegemini.options import Options
from examples.fakegemini.outcomes import Faults, Outcome
from examples.fakegemini.running import FakeGemini

__all__ = [
    "Entry",
    "FakeGemini",
    "Faults",
    "Ledger",
    "Limits",
    "Options",
    "Outcome",
    "Prices",
    "most_within",
    "prompt_hash",
    "read",
]
