"""Secrets are masked, ordinary text stays as it is, and 10 MB are no trouble."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.signals import has_secret, mask

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
    "secret: xyz": "secret: [secret]",
    "use sk-proj-abcdefghijklmnopqrstuvwxyz": "use [secret]",
    "ghp_0123456789abcdefghijABCDEFGHIJ": "[secret]",
    "AKIAABCDEFGHIJKLMNOP": "[secret]",
    "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM": "[secret]",
    "Authorization: Bearer abc123def456ghi789jkl": "Authorization: Bearer [secret]",
    "postgres://bob:s3cr3t@db/x": "postgres://bob:[secret]@db/x",
    "card 4111 1111 1111 1111 12/27": "card [secret] 12/27",
    "4111111111111111": "[secret]",
    "5500-0000-0000-0004 and 3400 000000 00009": "[secret] and [secret]",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1": "[secret]",
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


@pytest.mark.parametrize(("text", "masked"), MASKED.items())
def test_secrets_are_masked(text, masked):
    assert mask(text) == masked
    assert has_secret(text)
    assert mask(masked) == masked


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_stays(text):
    assert mask(text) == text
    assert not has_secret(text)


def test_a_hidden_secret_is_seen():
    assert has_secret("my pass\u200bword is hunter2")
    assert has_secret("4111 1111 1111 1111")  # wide digits
    assert not has_secret("na\u200bïve")


@given(st.text(max_size=300))
def test_masking_twice_changes_nothing_more(text):
    assert mask(mask(text)) == mask(text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_key_never_survives(before, after):
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    assert key not in mask(f"{before} {key} {after}")


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1",
        "4111 ",
        "1 ",
        "password is ",
        "-----BEGIN PRIVATE KEY-----",
        "DE89 ",
        " ",
        "password for a b ",
        "密码",
        "://a:b",
    ],
)
def test_time_grows_with_the_length_only(piece):
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        begin = time.perf_counter()
        mask(text)
        return time.perf_counter() - begin

    small = min(seconds(50_000) for _ in range(3))
    assert seconds(500_000) < 30 * small + 0.5


def test_ten_megabytes():
    begin = time.perf_counter()
    masked = mask("hello my dear world. " * 480_000 + "my password is hunter2")
    assert masked.endswith("[secret]")
    assert time.perf_counter() - begin < 20.0
