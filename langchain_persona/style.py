"""Communication style: learned slowly from how a user writes and what they correct; told in short sentences.

What a user asks for outright ("shorter please") moves a trait half the way, what their writing shows moves it little,
and one message that disagrees weakens what is known before it turns it around.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from langchain_persona.errors import ConfigError
from langchain_persona.extraction.matching import MAX_CHARACTERS, matches
from langchain_persona.records import CommunicationStyle, Language, Trait
from langchain_persona.rewards import Signal
from langchain_persona.signals.language import language_of

__all__ = ["MAX_STEP", "NAMES", "describe", "observe"]

MAX_STEP = 0.5
"""The most that one message can move a trait's value or its confidence."""

ASKED, SHOWN, ENDORSED = 0.5, 0.08, 0.05
"""Steps: what is asked for outright; what the writing shows; what praise adds to the confidence of what is in force."""

NAMES: Mapping[str, str] = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "zh": "Chinese", "it": "Italian",
    "pt": "Portuguese", "nl": "Dutch", "pl": "Polish", "ru": "Russian", "uk": "Ukrainian", "tr": "Turkish",
    "ja": "Japanese", "ko": "Korean", "ar": "Arabic", "hi": "Hindi", "sv": "Swedish", "da": "Danish",
    "cs": "Czech", "el": "Greek",
}  # fmt: skip
"""ISO 639-1 codes to the names that a prompt uses."""

_SENTENCES: Mapping[str, tuple[str, str]] = {
    "verbosity": ("Keep answers short.", "Answer in full detail."),
    "formality": ("Write in a casual tone.", "Write in a formal tone."),
    "directness": ("Put criticism gently.", "Be direct."),
    "technical_depth": ("Explain in plain words, without jargon.", "Assume expert knowledge; skip the basics."),
    "warmth": ("Stay matter-of-fact, without small talk.", "Write warmly."),
    "structure": ("Write in prose, without lists.", "Structure answers with lists and headings."),
    "proactivity": ("Answer only what was asked.", "Suggest useful next steps."),
}
"""Each trait: what is said of its lower and of its upper end."""

_FORMAL = re.compile(
    r"\b(?:dear sir|yours sincerely|sehr geehrte|könnten sie|würden sie|ich bitte sie|pourriez-vous|veuillez"
    r"|je vous prie|podría usted|le ruego|estimado)\b|您",
    re.IGNORECASE,
)
_CASUAL = re.compile(
    r"\b(?:hey|gonna|wanna|gotta|thx|pls|plz|lol|dude|yo|haha|kannste|haste|gibt's|nö|salut|mdr|stp|t'as"
    r"|jaja|oye|porfa|tío)\b|哈哈|嘛|咯",
    re.IGNORECASE,
)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_LIST = re.compile(r"^\s*+(?:[-*•]|\d+[.)])\s+\S", re.MULTILINE)
_CODE = re.compile(
    r"```|\b(?:stack trace|regex|API|SQL|async|mutex|kubernetes|refactor|docker|latency|p95|gRPC|idempoten\w+)\b"
)


def observe(style: CommunicationStyle, message: str, *, follow_up: Signal | None = None) -> CommunicationStyle:
    """The style after one more message.

    Pure and bounded: a value and a confidence move by at most `MAX_STEP`. A message in which the user asks for a way of
    answering moves it by that much (the rules of `RuleExtractor` tell); how they write moves it by a sixth of that.

    Args:
        style: what is known so far; not changed.
        message: the user's.
        follow_up: what this message says of the answer before (see `signals.followup`): praise strengthens a little
            what was in force, blame takes as much away.

    Returns:
        A new style; an equal one when the message shows nothing.

    Example:
        >>> once = observe(CommunicationStyle(), "Too long!")
        >>> once.verbosity.value, once.verbosity.confidence, describe(once)
        (-0.5, 0.5, ['Keep answers short.'])
    """
    text = message[:MAX_CHARACTERS]
    asked: dict[str, float] = {}
    code: str | None = None
    for match in matches(text):
        asked.update(match.rule.meaning.style)
        code = match.answer_language if match.rule.slot == "language" and match.answer_language else code
    traits = {name: _moved(getattr(style, name), value, ASKED) for name, value in asked.items()}
    for name, value in _shown(text).items():
        if name not in traits:
            traits[name] = _moved(getattr(style, name), value, SHOWN)
    if follow_up is not None and abs(follow_up.reward) >= 0.3:
        for name in _SENTENCES:
            if name not in asked:
                traits[name] = _endorsed(traits.get(name, getattr(style, name)), follow_up.reward)
    return style.model_copy(update={**traits, "language": _language(style.language, text, code)})


def describe(style: CommunicationStyle, minimum_confidence: float = 0.4) -> list[str]:
    """The style in sentences for a prompt.

    Args:
        style: what is known.
        minimum_confidence: traits known less surely stay out.

    Returns:
        Sentences in a fixed order; [] when nothing is known surely enough.

    Raises:
        ConfigError: the confidence lies outside (0, 1].

    Example:
        >>> describe(CommunicationStyle(language=Language(code="de", confidence=0.9)))
        ['Answer in German.']
    """
    if not 0.0 < minimum_confidence <= 1.0:
        raise ConfigError(f"minimum_confidence must lie above 0 and up to 1, got {minimum_confidence}")
    told = []
    language = NAMES.get(style.language.code or "")
    if language and style.language.confidence >= minimum_confidence:
        told.append(f"Answer in {language}.")
    for name, (low, high) in _SENTENCES.items():
        trait: Trait = getattr(style, name)
        if trait.confidence >= minimum_confidence and abs(trait.value) >= 0.3:
            told.append(low if trait.value < 0 else high)
    return told


def _shown(text: str) -> dict[str, float]:
    """What the writing itself shows; nothing of a message too short to show anything."""
    shown: dict[str, float] = {}
    if _FORMAL.search(text):
        shown["formality"] = 1.0
    elif _CASUAL.search(text) or len(_EMOJI.findall(text)) >= 2:
        shown["formality"] = -1.0
    if len(_LIST.findall(text)) >= 2:
        shown["structure"] = 1.0
    if _CODE.search(text):
        shown["technical_depth"] = 1.0
    return shown


def _moved(trait: Trait, value: float, step: float) -> Trait:
    """One step towards a value; confidence rises when they agree, and falls when they do not."""
    agrees = trait.value * value >= 0.0
    moved = trait.value + max(-step, min(step, value - trait.value))
    confidence = trait.confidence + step * (1.0 - trait.confidence) if agrees else trait.confidence * (1.0 - step)
    return Trait(value=_bounded(moved, -1.0), confidence=_bounded(confidence, 0.0))


def _endorsed(trait: Trait, reward: float) -> Trait:
    if trait.confidence == 0.0:
        return trait
    return trait.model_copy(update={"confidence": _bounded(trait.confidence + ENDORSED * reward, 0.0)})


def _language(known: Language, text: str, asked: str | None) -> Language:
    """An explicit wish holds at once and against what is written later; else the language that is written, slowly."""
    if asked is not None:
        return Language(code=asked, confidence=1.0)
    spoken, sure = language_of(text)
    if spoken is None or sure < 0.5 or known.confidence == 1.0:
        return known
    if known.code in (None, spoken):
        return Language(code=spoken, confidence=_bounded(known.confidence + 0.2 * (0.95 - known.confidence), 0.0))
    left = known.confidence - 0.3
    return known.model_copy(update={"confidence": left}) if left > 0.0 else Language(code=spoken, confidence=0.2)


def _bounded(number: float, low: float) -> float:
    return round(max(low, min(1.0, number)), 6)
