"""Requests to forget: which scope, about what, and look-alikes that are none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.signals import ForgetRequest, forget_request

LAST = """Forget that
Please forget that.
Could you forget that, please?
Forget what I just said.
Please don't store that
OK, forget this again
Do you remember my name? Forget it.
Vergiss das
Vergiss das bitte wieder.
Merk dir das nicht
Kannst du das vergessen?
Oublie ça
Oublie ce que je viens de dire
Ne retiens pas ça
Olvida eso
Olvídalo, por favor
Olvida lo que acabo de decir
忘掉这个
请忘掉刚才说的话
请不要记住这个""".splitlines()
EVERYTHING = """Forget everything
Forget everything you know about me
Please delete all my preferences
Erase your memory
Wipe everything you have stored about me.
Forget me
Vergiss alles
Vergiss alles, was du über mich weißt
Lösche alle meine Daten
Oublie tout
Oublie tout ce que tu sais sur moi
Efface toutes mes données
Olvida todo
Olvida todo lo que sabes de mí
Borra mis datos
忘记关于我的一切
清空你的记忆
删除我的所有资料""".splitlines()
MATCHING = {
    "Forget that I like coffee": "I like coffee",
    "Please forget that I said I was vegan. What's for dinner?": "I was vegan",
    "Forget what I said about coffee": "coffee",
    "Forget about my coffee preference": "my coffee preference",
    "Delete my birthday": "my birthday",
    "Don't remember that I live in Oslo": "I live in Oslo",
    "Vergiss bitte, dass ich Kaffee mag": "ich Kaffee mag",
    "Vergiss meinen Geburtstag": "meinen Geburtstag",
    "Oublie que j'aime le café": "j'aime le café",
    "Oublie mon anniversaire": "mon anniversaire",
    "Olvida que me gusta el café": "me gusta el café",
    "忘了我喜欢咖啡": "我喜欢咖啡",
    "把我喜欢咖啡忘掉吧": "我喜欢咖啡",
    "忘掉关于咖啡的事": "咖啡",
}
THIS = {
    "Don't remember this: my ex is called Bob": "my ex is called Bob",
    "Don't remember this message.": "",
    "Off the record: I hate my job": "I hate my job",
    "Merk dir Folgendes nicht: ich bin krank": "ich bin krank",
    "Ne retiens pas ceci : je suis malade": "je suis malade",
    "No recuerdes esto: estoy enfermo": "estoy enfermo",
    "不要记住：我的生日是五月": "我的生日是五月",
}
NONE = """I forget that film's name
don't forget to add salt
Don't forget that I'm vegan
Never forget that day
I can't forget that day
How do I forget that?
What happens when you forget that you ate?
Forget that film, recommend another
Forget the salt in the recipe
forget about it
Did you forget everything?
Do you remember this?
Vergiss nicht, dass ich Kaffee mag
Ich vergesse das immer
Ich habe das vergessen
N'oublie pas que j'aime le café
J'ai oublié ça
No olvides que me gusta el café
Se me olvidó eso
别忘了我喜欢咖啡
我忘了那部电影的名字
不要忘记买牛奶
Remember that
""".splitlines()


@pytest.mark.parametrize("message", LAST)
def test_what_was_just_learned(message):
    assert forget_request(message) == ForgetRequest("last")


@pytest.mark.parametrize("message", EVERYTHING)
def test_everything(message):
    assert forget_request(message) == ForgetRequest("everything")


@pytest.mark.parametrize(("message", "what"), MATCHING.items())
def test_one_thing(message, what):
    assert forget_request(message) == ForgetRequest("matching", what)


@pytest.mark.parametrize(("message", "what"), THIS.items())
def test_this_message_is_not_to_be_kept(message, what):
    assert forget_request(message) == ForgetRequest("this", what)


@pytest.mark.parametrize("message", NONE)
def test_look_alikes_are_none(message):
    assert forget_request(message) is None


@given(st.text(max_size=200))
def test_it_never_raises(text):
    request = forget_request("Forget " + text)
    assert request is None or request.scope in {"last", "this", "matching", "everything"}


@pytest.mark.parametrize("piece", ["forget ", "please ", "no ", "忘掉", ". ", "a", "my ", "请"])
def test_time_is_bounded(piece):
    begin = time.perf_counter()
    forget_request(piece * (5_000_000 // len(piece)))
    forget_request("forget " + piece * 3_000)
    assert time.perf_counter() - begin < 2.0


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        ("Forget that I love olives, and what's for dinner?", ForgetRequest("matching", "I love olives")),
        ("Please forget that I love olives and suggest a dinner", ForgetRequest("matching", "I love olives")),
        ("Erase what you know about olives", ForgetRequest("matching", "olives")),
        ("That's private, please forget what I just said", ForgetRequest("last")),
        ("Forget that I like tea and coffee", ForgetRequest("matching", "I like tea and coffee")),
        ("Vergiss, dass ich Tee mag, und was gibt es heute?", ForgetRequest("matching", "ich Tee mag")),
        ("Olvida que me gusta el té y dime qué cenar", ForgetRequest("matching", "me gusta el té")),
        ("He said, forget it, and left", None),
        ("If you forget that, I'm sad", None),
        ("It is late, goodbye", None),
    ],
)
def test_a_request_inside_a_longer_sentence(message, request_):
    assert forget_request(message) == request_
