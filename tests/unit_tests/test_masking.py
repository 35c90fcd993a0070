"""Secrets are masked, ordinary text stays as it is, and long texts cost no more than their length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.masking import MASK, mask
from langchain_persona.resilience import storable

MASKED = {
    "my password is hunter2, please": "my password is [secret], please",
    "My password for the wifi at home is Tr0ub4dor&3.": "My password for the wifi at home is [secret].",
    "my password is now hunter2": "my password is now [secret]",
    "My PIN is 4821": "My PIN is [secret]",
    "Mein Passwort lautet geheim123": "Mein Passwort lautet [secret]",
    "mon mot de passe est soleil42": "mon mot de passe est [secret]",
    "mi contraseña es gato99": "mi contraseña es [secret]",
    "我的密码是abc123，谢谢": "我的密码是[secret]，谢谢",
    "API_KEY=foo": "API_KEY=[secret]",
    '{"token": "abcd"}': '{"token": "[secret]"}',
    "İ: secret: xyz": "İ: secret: [secret]",  # a capital that is two small letters
    "use sk-proj-abcdefghijklmnopqrstuvwxyz": "use [secret]",
    "ghp_0123456789abcdefghijABCDEFGHIJ": "[secret]",
    "AKIAABCDEFGHIJKLMNOP": "[secret]",
    "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM": "[secret]",
    "Authorization: Bearer abc123def456ghi789jkl": "Authorization: Bearer [secret]",
    "postgres://bob:s3cr3t@db/x": "postgres://bob:[secret]@db/x",
    "card 4111 1111 1111 1111 12/27": "card [secret] 12/27",
    "5500-0000-0000-0004 and 3400 000000 00009": "[secret] and [secret]",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1": "[secret]",
    "99 4111 1111 1111 1111 77 5500 0000 0000 0004 66": "99 [secret] 77 [secret] 66",
    "IBAN DE89 3704 0044 0532 0130 00 ok": "IBAN [secret] ok",
    "GB82WEST12345698765432": "[secret]",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- after": "[secret] after",
    "-----BEGIN PRIVATE KEY-----\nabc": "[secret]",
    "my seed phrase is apple bear cat dog egg fish goat hat": "my seed phrase is [secret]",
    "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3": "[secret]",
}
PLAIN = """password is too long
my password is not safe
I lost my password: what now?
my password is ...
密码是什么
I like tokens
the secret is patience
La clave del éxito es la paciencia
the passport is blue
order 1234567890123456
4111 1111 1111 1112
my number is 0170 1234567
DE00 3704 0044 0532 0130 00
commit 0d1f2e3a4b5c6d7e8f90a1b2c3d4e5f6a7b8c9d0
550e8400-e29b-41d4-a716-446655440000
my password is [secret]
AnExtremelyLongClassNameInJavaFactoryBean
https://example.com/a/b?c=d
pi is 3.14159265358979323846
1111111111111111111111111111111111111111111111
""".splitlines()


def has_secret(text: str) -> bool:
    return mask(text) != text


def test_secrets_are_masked():
    assert {text: mask(text) for text in MASKED} == MASKED
    assert [text for text in MASKED if not has_secret(text)] == []
    assert [masked for masked in MASKED.values() if mask(masked) != masked] == []


def test_ordinary_text_stays():
    assert [mask(text) for text in PLAIN] == PLAIN
    assert [text for text in PLAIN if has_secret(text)] == []


def test_a_hidden_secret_is_masked_and_the_rest_of_a_text_stays():
    assert mask("“My” pass\u200bword is hunter2") == '"My" password is [secret]'
    assert mask("na\u200bïve “quotes”") == "na\u200bïve “quotes”"


def test_a_hidden_secret_is_seen():
    assert has_secret("my pass\u200bword is hunter2")
    assert has_secret("４１１１ １１１１ １１１１ １１１１")
    assert has_secret("my password is\u2028hunter2")
    assert has_secret("mi contrasen\u0303a es gato99")
    assert has_secret("my \ud800pass\ud800word is hunter2")
    assert not has_secret("na\u200bïve “quotes”, ｗｉｄｅ letters，\tand\u2029a line")


@given(st.text(max_size=300))
def test_masking_twice_changes_nothing_more(text):
    assert mask(mask(text)) == mask(text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_key_never_survives(before, after):
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    assert key not in mask(f"{before} {key} {after}")


NAMES = (
    "password, passwords, passcode, passwd, passphrase, pwd, pin, pin-code, pinnummer, cvv, cvv2, cvc, "
    "api_key, access-key, secret key, private keys, auth-key, encryption key, license key, ssh key, "
    "signing key, api-token, bearer token, session token, refresh token, bot token, client_secret, seed "
    "words, recovery phrase, recovery code, otp, 2fa code, passwort, kennwort, zugangscode, geheimzahl, "
    "schlüsselwort, api-schlüssel, zugangsschlüssel, mot de passe, mdp, code secret, code confidentiel, "
    "clé api, clé privée, clave privada, contraseña, contrasena, clave secreta, clave de acceso, secret, "
    "token, credentials, clave, clé, schlüssel, 密码, 口令, 私钥, 令牌, 验证码, pin码, api key"
)


def test_every_name_of_a_secret_is_found_in_any_case():
    """Names are searched in two steps, a quick one for where they start: it may miss none."""
    for name in NAMES.split(", "):
        for written in (name, name.upper()):
            assert mask(f"so {written}: x1y2, and") == f"so {written}: [secret], and"


def test_long_hostile_texts_cost_no_more_than_their_length():
    """No clock: work that grows with the square of the length would take minutes here."""
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    for piece in (
        "a",
        "1 ",
        "4111 ",
        "password is ",
        "pin ",
        "password for a b ",
        "DE89 ",
        " ",
        "密码",
        "://a:b",
        "-eyJ",
    ):
        assert key not in mask(piece * (200_000 // len(piece)) + " " + key)
    for piece in ("SG.", "-----BEGIN PRIVATE KEY", "seed words is ab ", "hello my dear world. ", "\u200b", "ﬃ"):
        assert has_secret(piece * (200_000 // len(piece)) + " " + key)


@pytest.mark.parametrize("text", ["pw: Sommer2024!", "I use the password Sommer2024!", "my ssn is 078-05-1120"])
def test_a_secret_without_a_verb_is_masked(text):
    assert MASK in mask(text)
    assert not any(char.isdigit() for char in mask(text))


def test_words_beside_a_password_are_none():
    assert mask("reset my password quickly, before 2027-01-15") == "reset my password quickly, before 2027-01-15"


@given(st.text(st.characters()))
def test_what_no_database_takes_is_replaced_and_nothing_else(text):
    kept = storable(text)
    kept.encode("utf-8")
    assert "\0" not in kept
    assert len(kept) == len(text)
    assert all(one == other or other == "\ufffd" for one, other in zip(text, kept, strict=True))
    assert storable("\ud83e\0🦉é") == "\ufffd\ufffd🦉é"
