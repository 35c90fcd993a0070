"""Secrets in a text: keys, tokens, passwords, card and account numbers are masked before anything is stored.

Every expression is linear: repeats are possessive or bounded. 100 kB of English or Chinese take 10 to 20 ms.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from langchain_persona.resilience import storable

MASK = "[secret]"

# "password: x", "API_KEY=x", "my password is x": something is called a secret, and a value follows. Five languages.
_STARTS = (  # of the names below
    "pass|pw|pin|cv[vc]|api|access|secret|private|auth|encr|licen|ssh|signing|bearer|session|refresh|bot|client|seed"
    "|recovery|otp|2fa|kennw|zugang|geheimz|schlüsselw|mot|mdp|code|clé|contrase|clave"
)
_NAMED = (
    r"(?i)(?<![^\W_])(?:pass(?:word|wort|code|phrase|wd)?s?|pwd?|pin(?:[- ]?(?:code|number|nummer))?|cvv2?|cvc2?"
    r"|(?:api|access|secret|private|auth|encryption|license|ssh|signing)[\s_-]{0,2}keys?"
    r"|(?:api|access|auth|bearer|session|refresh|secret|bot)[\s_-]{0,2}tokens?|client[\s_-]?secret"
    r"|(?:seed|recovery)[\s_-]{0,2}(?:phrase|words|code)|otp|2fa[\s_-]code|kennwort|zugangscode"
    r"|geheimzahl|schlüsselwort|api-schlüssel|zugangsschlüssel|contraseña|contrasena|clave\s{1,3}(?:secreta|api|privada)"
    r"|mot\s{1,3}de\s{1,3}passe|mdp|code\s{1,3}(?:secret|pin|confidentiel)|clé\s{1,3}(?:api|secrète|privée|d'api)"
    r"|clave\s{1,3}de\s{1,3}acceso)(?![^\W_])\s{0,3}(?:[\"']?\s{0,3}[:=]\s{0,3}"
    r"|(?:\s{0,3}(?:for|to|of|für|zu|de|du|para|pour|del|vom|von)\s{1,3}[\w.'@-]{1,40}(?:\s{1,3}[\w.'@-]{1,40}){0,3})?"
    r"\s{1,3}(?:is|was|are|=|ist|war|lautet|heißt|est|c'est|es|era|será)(?:\s{1,3}(?:now|jetzt|maintenant|ahora))?"
    r"(?:\s{0,3}:)?\s{1,3})[\"'<]?(\S{1,400}+)"
)
# What may follow "my password is" without being one.
_NO_VALUE = re.compile(
    "(?:a|an|the|not|no|in|on|at|too|very|so|my|your|our|it|this|that|what|how|why|where|when|who|which|to|for|of|and|or"
    "|but|is|was|are|safe|secure|secret|long|short|weak|strong|old|new|wrong|correct|expired|lost|forgotten|saved|stored"
    "|hard|easy|required|missing|invalid|empty|optional|always|never|something|different|about|needed|visible|hidden"
    "|gone|leaked|kein|keine|nicht|zu|sehr|mein|dein|das|die|der|den|ein|eine|auf|abgelaufen|falsch|weg|sicher|unsicher"
    "|schwach|stark|vergessen|verloren|lang|kurz|alt|neu|schwer|leicht|geheim|gut|und|oder|aber|pas|trop|très|mon|ton|le"
    "|la|les|un|une|dans|oublié|perdu|faux|expiré|sûr|court|faible|fort|bonne|mauvaise|et|ou|demasiado|muy|mi|tu|el|una"
    "|en|olvidada|perdida|incorrecta|segura|larga|corta|débil|fuerte|y|o|importante|be|been|being|based|used|like|just"
    "|only|also|still|already|longer)?$|什么|不|太|很|错|忘|多少|哪|怎|我|你|必|需"
)
# "the password Sommer2024": no verb, but no word either
_BARE = (
    r"(?i)(?<![^\W_])(?:pass(?:word|wort|code|phrase)|pwd?|kennwort|contraseña)\s{1,3}[\"']?"
    r"((?=\S{0,40}\d)(?=\S{0,40}[^\W\d])\S{6,400}+)"
)
_US_NUMBER = r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"  # social security
# Names that ordinary sentences use too ("the secret is patience"): only with a colon or an equals sign.
_WEAK = "secret|token|credentials?|clave|clé|schlüssel"
_WEAKLY_NAMED = rf"(?i)(?<![^\W_])(?:{_WEAK})[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"'<]?(\S{{1,400}}+)"
_CHINESE = "密码|密碼|口令|密钥|密鑰|私钥|令牌|验证码|驗證碼|助记词|pin码|api"
_NAMED_IN_CHINESE = (
    rf"(?i)(?:{_CHINESE}\s?key)\s{{0,3}}(?:现在)?(?:是|为|為|[:=：])\s{{0,3}}[\"'“「]?([^\s，。,、;；”」]{{1,400}}+)"
)
_PHRASE = (
    r"(?i)(?:(?:seed|recovery)[\s_-]{1,2}(?:phrase|words)|助记词)\s{0,3}(?:is|are|[:=：是])\s{0,3}"
    r"((?:\w{2,12}[ ,]{1,2}){5,30}\w{2,12})"
)
_IN_ADDRESS = r"://[^\s/@:]{1,100}:([^\s/@]{1,200})(?=@)"
_BEARER = r"(?i:\b(?:bearer|basic)\s{1,3})(?=[\w.~+/=-]*\d)([\w.~+/=-]{16,}+)"
_KEY = "[A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----"
_PRIVATE_KEY = rf"-----BEGIN{_KEY}(?s:.*?-----END{_KEY}|.*)"
_TOKEN = (  # says what it is by its first letters
    r"(?<![A-Za-z0-9])(?:[spr]k[-_](?:live[-_]|test[-_]|proj-|ant-|or-)?[A-Za-z0-9_-]{16,}+|gh[pousr]_[A-Za-z0-9]{20,}+"
    r"|github_pat_\w{20,}+|glpat-[\w-]{16,}+|xox[abeprs]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+|hf_[A-Za-z0-9]{20,}+"
    r"|A(?:KIA|SIA)[A-Z0-9]{12,}+|AIza[\w-]{30,}+|ya29\.[\w-]{20,}+|npm_[A-Za-z0-9]{20,}+|pypi-[\w-]{20,}+"
    r"|lsv2_[\w-]{16,}+|gsk_[A-Za-z0-9]{20,}+|SG\.[\w-]{16,200}+\.[\w-]{16,}+|whsec_\w{16,}+|dop_v1_[a-f0-9]{32,}+"
    r"|eyJ[\w-]{8,500}+\.[\w-]{8,}+(?:\.[\w-]*+)?)"
)
# The first character is matched before what stands ahead of it: a search for it is quicker.
_ACCOUNT = r"[A-Z](?<![A-Za-z0-9].)[A-Z]\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"
_DIGITS = r"\d(?<![\d.].)(?:[ -]?\d){12,}+"
_NOISE = r"[A-Za-z0-9_+=-](?<![\w+=/-].)[A-Za-z0-9_+=-]{27,}+(?![/\w])"
_CARD = re.compile(r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[068]\d{12,14}|6\d{15,18}|35\d{14}")
_QUOTES = str.maketrans({**dict.fromkeys("‘’‛′`", "'"), **dict.fromkeys("“”„‟«»", '"')})
_BY_CATEGORY = {"Cf": "", "Cs": "", "Co": "", "Zl": "\n", "Zp": "\n", "Cc": " ", "Zs": " "}


def mask(text: str) -> str:
    """Replace every secret by "[secret]"; the rest of the text stays as it is (but `storable`), unless it hides one.

    Masked are API keys and tokens that show their maker, private keys, passwords and codes that are called so ("my
    password is …", in five languages), passwords in addresses, payment card numbers with a right check digit (Luhn;
    ISO/IEC 7812-1), IBANs with a right check sum (ISO 13616), and long strings of mixed letters and digits.

    Example:
        >>> mask("my password is hunter2; pay with 4111 1111 1111 1111")
        'my password is [secret]; pay with [secret]'
    """
    text = storable(text)
    masked, seen = _mask(text), _as_seen(text)
    plain = masked if seen == text else _mask(seen)
    return plain if plain.count(MASK) > masked.count(MASK) else masked  # format characters or wide forms hid one


def _mask(text: str) -> str:
    text = re.sub(_PRIVATE_KEY, MASK, text)
    text = _mask_named(text, "seed|recovery|助记词", _PHRASE)
    text = _mask_named(text, _CHINESE, _NAMED_IN_CHINESE)
    text = _mask_named(text, _STARTS, _NAMED)
    text = _mask_named(text, "pass|pw|kennw|contrase", _BARE)
    text = _mask_named(text, _WEAK, _WEAKLY_NAMED)
    text = re.sub(_IN_ADDRESS, _mask_value, text)
    text = re.sub(_BEARER, _mask_value, text)
    text = re.sub(_TOKEN, MASK, text)
    text = re.sub(_ACCOUNT, _mask_account, text)
    text = re.sub(_DIGITS, _mask_cards, text)
    text = re.sub(_US_NUMBER, MASK, text)
    return re.sub(_NOISE, _mask_noise, text)


def _as_seen(text: str) -> str:
    """The text as a reader sees it: without format characters, wide forms and curly quotes."""
    table = {}
    for char in set(re.findall(r"[^\n -_a-~\u4e00-\u9fff]", text)):  # the others are what they look like
        plain = unicodedata.normalize("NFKC", char).translate(_QUOTES)
        table[ord(char)] = "".join(_BY_CATEGORY.get(unicodedata.category(one), one) for one in plain)
    return unicodedata.normalize("NFC", text.translate(table) if table else text)


def _mask_named(text: str, starts: str, secret: str) -> str:
    """What is called a secret. The expression is tried only where one of the `starts` stands: that is quicker."""
    parts, at, pattern = list[str](), 0, re.compile(secret)
    # "İ" alone has two small letters; without it, positions in the small text are those in the text
    for start in re.finditer(starts, text.replace("İ", "I").replace("ſ", "s").lower()):
        if start.start() >= at and (found := pattern.match(text, start.start())):
            parts += [text[at : found.start()], _mask_value(found)]
            at = found.end()
    return "".join([*parts, text[at:]])


def _mask_value(match: re.Match[str]) -> str:
    """The value of a labelled secret; sentences such as "my password is too long" hold none."""
    whole, value = match[0], match[1]
    core = value.rstrip(".,;:!?)]}>\"'…。，")
    if value.startswith(MASK) or _NO_VALUE.match(core.casefold()):
        return whole
    return whole.removesuffix(value) + MASK + value[len(core) :]


def _mask_account(match: re.Match[str]) -> str:
    """An IBAN: with its first four characters last and letters read as numbers, it leaves 1 when divided by 97."""
    code = re.sub(r"[ -]", "", match[0])
    number = "".join(str(int(char, 36)) for char in code[4:] + code[:4])
    return MASK if int(number) % 97 == 1 else match[0]


def _mask_cards(match: re.Match[str]) -> str:
    """Card numbers within a run of digits: the whole run, or neighbouring groups of it."""
    run, at, parts = match[0], 0, list[str]()
    groups = list(re.finditer(r"\d+", run))
    if len(run) <= 40 and _is_card("".join(group[0] for group in groups)):
        return MASK
    for index, first in enumerate(groups):
        number = ""
        for last in groups[index : index + 6] if first.start() >= at else ():
            number += last[0][:20]
            if len(last[0]) < 2 or len(number) > 19:
                break
            if _is_card(number):
                parts += [run[at : first.start()], MASK]
                at = last.end()
                break
    return "".join([*parts, run[at:]])


def _is_card(number: str) -> bool:
    """Whether digits are the number of a payment card: a known beginning and length, and the check digit of Luhn."""
    digits = [int(digit) for digit in reversed(number)]
    luhn = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return luhn % 10 == 0 and _CARD.fullmatch(number) is not None


def _mask_noise(match: re.Match[str]) -> str:
    """A long string without words in it: capitals, small letters and at least four digits, mixed."""
    head = match[0][:200]
    changes = sum(one.isdigit() != other.isdigit() for one, other in pairwise(head))
    mixed = any(map(str.isupper, head)) and any(map(str.islower, head)) and changes >= 6
    return MASK if mixed and sum(map(str.isdigit, head)) >= 4 else match[0]
