"""Secrets in a text: keys, tokens, passwords, card and account numbers are masked before anything is stored.

Every expression is linear: repeats are possessive or bounded, so that a text of 10 MB takes seconds, not hours.
"""

from __future__ import annotations

import re
from itertools import pairwise

from langchain_persona.signals.text import visible

__all__ = ["MASK", "has_secret", "mask"]

MASK = "[secret]"

_PRIVATE_KEY = re.compile(r"-----BEGIN[A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----")
_PRIVATE_KEY_END = re.compile(r"-----END[A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----")

# Keys that say what they are by their first letters.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|pk|rk)[-_](?:live[-_]|test[-_]|proj-|ant-|or-)?[A-Za-z0-9_-]{16,}+"
    r"|gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+|glpat-[\w-]{16,}+"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}+|AIza[\w-]{30,}+|ya29\.[\w-]{20,}+"
    r"|hf_[A-Za-z0-9]{20,}+|npm_[A-Za-z0-9]{20,}+|pypi-[\w-]{20,}+|lsv2_[\w-]{16,}+|gsk_[A-Za-z0-9]{20,}+"
    r"|SG\.[\w-]{16,}+\.[\w-]{16,}+|whsec_\w{16,}+|dop_v1_[a-f0-9]{32,}+"
    r"|eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+)?"
    r")"
)
_BEARER = re.compile(r"(?i:\b(?:bearer|basic)\s{1,3})(?=[\w.~+/=-]*\d)([\w.~+/=-]{16,}+)")
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@:]{1,100}:([^\s/@]{1,200})(?=@)")

# Something is called a secret, and a value follows: "password: x", "API_KEY=x", "my password is x", five languages.
_NAMES = (
    r"pass(?:word|code|phrase|wd)?s?|pwd|pin(?:[- ]?(?:code|number|nummer))?|cvv2?|cvc2?"
    r"|(?:api|access|secret|private|auth|encryption|license|ssh|signing)[\s_-]{0,2}keys?"
    r"|(?:api|access|auth|bearer|session|refresh|secret|bot)[\s_-]{0,2}tokens?|client[\s_-]?secret"
    r"|(?:seed|recovery)[\s_-]{0,2}(?:phrase|words|code)|otp|2fa[\s_-]code"
    r"|passwort|kennwort|zugangscode|geheimzahl|passphrase|schlüsselwort|api-schlüssel|zugangsschlüssel"
    r"|mot\s{1,3}de\s{1,3}passe|mdp|code\s{1,3}(?:secret|pin|confidentiel)|clé\s{1,3}(?:api|secrète|privée|d'api)"
    r"|contraseña|contrasena|clave\s{1,3}(?:secreta|de\s{1,3}acceso|api|privada)"
)
# Names that ordinary sentences use too ("the secret is patience"): only with a colon or an equals sign.
_WEAK_NAMES = r"secret|token|credentials?|clave|clé|schlüssel"
_LINK = (
    r"\s{0,3}(?:"
    r"[\"']?\s{0,3}[:=]\s{0,3}"
    r"|(?:\s{0,3}(?:for|to|of|für|zu|de|du|para|pour|del|vom|von)\s{1,3}[\w.'@-]{1,40}(?:\s{1,3}[\w.'@-]{1,40}){0,3})?"
    r"\s{1,3}(?:is|was|are|=|ist|war|lautet|heißt|est|c'est|es|era|será)(?:\s{1,3}(?:now|jetzt|maintenant|ahora))?"
    r"(?:\s{0,3}:)?\s{1,3}"
    r")"
)
_LABELLED = re.compile(rf"(?i)(?<![^\W_])(?:{_NAMES})(?![^\W_])(?:{_LINK})[\"'<]?(\S{{1,400}}+)")
_WEAKLY_LABELLED = re.compile(rf"(?i)(?<![^\W_])(?:{_WEAK_NAMES})[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"'<]?(\S{{1,400}}+)")
_LABELLED_CHINESE = re.compile(
    r"(?i)(?:密码|密碼|口令|密钥|密鑰|私钥|令牌|验证码|驗證碼|助记词|pin码|api\s?key)"
    r"\s{0,3}(?:现在)?(?:是|为|為|[:=：])\s{0,3}[\"'“「]?([^\s，。,、;；”」]{1,400}+)"
)
_LABELLED_PHRASE = re.compile(
    r"(?i)(?:(?:seed|recovery)[\s_-]{1,2}(?:phrase|words)|助记词)\s{0,3}(?:is|are|[:=：]|是)\s{0,3}"
    r"(\w{2,12}(?:[ ,]{1,2}\w{2,12}){5,30})"
)

# Words that follow "my password is" without being one.
_NO_VALUES = (
    "a an the not no in on at too very so my your our it this that what how why where when who which to for of "
    "and or but is was are safe secure secret long short weak strong old new wrong correct expired lost "
    "forgotten saved stored hard easy required missing invalid empty optional always never something different "
    "about needed visible hidden gone leaked kein keine nicht zu sehr mein dein das die der den ein eine auf "
    "abgelaufen falsch weg sicher unsicher schwach stark vergessen verloren lang kurz alt neu schwer leicht "
    "geheim gut und oder aber pas trop très mon ton le la les un une dans oublié perdu faux expiré sûr court "
    "faible fort bonne mauvaise et ou demasiado muy mi tu el una en olvidada perdida incorrecta segura larga "
    "corta débil fuerte y o importante be been being based used like just only also still already longer "
)
_NO_VALUE = frozenset(_NO_VALUES.split())
_NO_VALUE_CHINESE = re.compile(r"^(?:什么|不|太|很|错|忘|多少|哪|怎|我|你|必|需)")

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_DIGITS = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,}+")
_GROUP = re.compile(r"\d+")
_CARD = re.compile(r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[068]\d{12,14}|6\d{15,18}|35\d{14}")
_LONG = re.compile(r"(?<![\w+=/-])[A-Za-z0-9_+=-]{28,}+(?![/\w])")


def mask(text: str) -> str:
    """Replace every secret by "[secret]"; the rest of the text stays as it is.

    Masked are API keys and tokens that show their maker, private keys, passwords and codes that are called so ("my
    password is …", in five languages), passwords in addresses, payment card numbers with a right check digit (Luhn;
    ISO/IEC 7812-1), IBANs with a right check sum (ISO 13616), and long strings of mixed letters and digits.

    Example:
        >>> mask("my password is hunter2, please keep it short")
        'my password is [secret], please keep it short'
        >>> mask("pay with 4111 1111 1111 1111")
        'pay with [secret]'
    """
    text = _private_keys(text)
    for expression in (_LABELLED_PHRASE, _LABELLED_CHINESE, _LABELLED, _WEAKLY_LABELLED, _IN_ADDRESS, _BEARER):
        text = expression.sub(_masked_value, text)
    text = _TOKEN.sub(MASK, text)
    text = _IBAN.sub(_masked_account, text)
    text = _DIGITS.sub(_masked_cards, text)
    return _LONG.sub(_masked_noise, text)


def has_secret(text: str) -> bool:
    """Whether a text holds a secret, also when it is hidden by format characters or wide forms.

    Example:
        >>> has_secret("token=ghp_0123456789abcdefghijABCDEFGHIJ"), has_secret("I like tokens")
        (True, False)
    """
    if mask(text) != text:
        return True
    seen = visible(text)
    return seen != text and mask(seen) != seen


def _private_keys(text: str) -> str:
    """A private key from its first line to its last; to the end of the text where the last is missing."""
    parts: list[str] = []
    at = 0
    while start := _PRIVATE_KEY.search(text, at):
        end = _PRIVATE_KEY_END.search(text, start.end())
        parts += [text[at : start.start()], MASK]
        at = end.end() if end else len(text)
    return "".join([*parts, text[at:]])


def _masked_value(match: re.Match[str]) -> str:
    """The value of a labelled secret; sentences such as "my password is too long" hold none."""
    whole, value = match[0], match[1]
    core = value.rstrip(".,;:!?)]}>\"'…。，")
    bare = core.casefold()
    if not core or value.startswith(MASK) or bare in _NO_VALUE or _NO_VALUE_CHINESE.match(bare):
        return whole
    start = match.start(1) - match.start()
    return whole[:start] + MASK + value[len(core) :] + whole[start + len(value) :]


def _masked_account(match: re.Match[str]) -> str:
    """An IBAN: moved to the front of its check digits and read as a number, it leaves 1 when divided by 97."""
    code = re.sub(r"[ -]", "", match[0])
    number = "".join(str(int(char, 36)) for char in code[4:] + code[:4])
    return MASK if int(number) % 97 == 1 else match[0]


def _masked_cards(match: re.Match[str]) -> str:
    """Card numbers within a run of digits: the whole run, or neighbouring groups of it."""
    run = match[0]
    groups = list(_GROUP.finditer(run))
    if len(run) <= 40 and _is_card("".join(group[0] for group in groups)):
        return MASK
    parts: list[str] = []
    at = index = 0
    while index < len(groups):
        number = ""
        for last in range(index, min(index + 6, len(groups))):
            number += groups[last][0][:20]
            if len(groups[last][0]) < 2 or len(number) > 19:
                break
            if _is_card(number):
                parts += [run[at : groups[index].start()], MASK]
                at = groups[last].end()
                index = last
                break
        index += 1
    return "".join([*parts, run[at:]])


def _is_card(number: str) -> bool:
    """Whether digits are the number of a payment card: a known beginning and length, and the check digit of Luhn."""
    if not _CARD.fullmatch(number):
        return False
    doubled = (2 * int(digit) for digit in number[-2::-2])
    return (sum(map(int, number[::-2])) + sum(value - 9 if value > 9 else value for value in doubled)) % 10 == 0


def _masked_noise(match: re.Match[str]) -> str:
    """A long string without words in it: capitals, small letters and at least four digits, mixed."""
    token = match[0]
    head = token[:200]
    digits = sum(map(str.isdigit, head))
    changes = sum(one.isdigit() != other.isdigit() for one, other in pairwise(head))
    mixed = any(map(str.isupper, head)) and any(map(str.islower, head))
    return MASK if mixed and digits >= 4 and changes >= 6 else token
