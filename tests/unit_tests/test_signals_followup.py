"""Verdicts in what the user writes next: what is one, in which direction, and what is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.signals import follow_up
from langchain_persona.signals.repeats import repeated_constraint, repeated_question

GOOD = """Thanks, that was really helpful!
thx
Thank you so much
Perfect.
That's exactly what I needed
Great answer
Works now, thanks
not bad
That's not wrong
couldn't be better
I like it
Thanks! And what about Spain?
Danke, das war super
Vielen Dank!
Nicht schlecht
Das hat geholfen
Genau.
Super, danke dir
Merci beaucoup, c'est parfait
pas mal
C'est pas mal du tout
C'est exactement ce que je voulais
Gracias, me ha ayudado mucho
No está mal
Perfecto
Me encanta
谢谢，很有帮助
不错
太好了
正是我想要的""".splitlines()

BAD = """That's too long.
That's wrong
not helpful at all
nothing works
No, I meant Java
I said no nuts
you forgot the deadline
This isn't what I asked for
Why did you leave out the deadline?
your second step doesn't work
shorter please
Can you make it shorter?
in German please
are you sure?
I don't like it
no
Try again
Das stimmt nicht
Nicht gut
Das hilft mir nicht
Kannst du das kürzer machen?
Ich hab doch gesagt, ohne Nüsse
Zu lang!
auf Deutsch bitte
Ich meinte Java
C'est faux
Ce n'est pas bon
Trop long
plus court s'il te plaît
J'ai dit sans noix
Tu as oublié la date
Eso está mal
No es correcto
Demasiado largo
¿Puedes hacerlo más corto?
Te dije sin nueces
No me sirve
不对
太长了
简短一点
我说过不要坚果
你忘了日期
你确定吗？""".splitlines()

NONE = """Do you know a good restaurant?
I know a nice place
What's wrong with my code?
How do I say thank you in French?
Write a thank you letter to my boss
Give me a list of restaurants, thanks
Good morning
No problem, what's next?
no thanks
Great Britain's capital?
good recipes for pasta
What is the right way to cook rice?
The printer doesn't work, help
The movie was bad. Recommend another.
Translate 'wrong' into German
In German, how do you say 'good'?
I told you about my dog, remember?
Are you sure that Paris is in France, my teacher asks
Write me a shorter poem about cats
Is it wrong to eat meat?
Thanks to my mother I can cook
Nice in France, what to see
super market opening times
yes
ok
Nobody knows the trouble I have seen
What is a perfect number?
Was bedeutet falsch?
Guten Morgen
Danke im Voraus
Wo finde ich ein gutes Restaurant?
Kein Problem, weiter
Schreib mir eine kürzere Geschichte über Katzen
Quel est le bon moment pour partir ?
Comment dit-on merci en japonais ?
Bonjour
Pas de problème
¿Dónde hay un buen restaurante?
Buenos días
No hay problema
¿Cómo se dice gracias en chino?
今天天气怎么样
请写一封感谢信
没问题
怎么做好吃的面条？
The bread is too salty, how do I fix it?
Which is better, tea or coffee?""".splitlines()


@pytest.mark.parametrize("message", GOOD)
def test_thanks_and_praise(message):
    signal = follow_up(message)
    assert signal is not None
    assert signal.source == "follow_up"
    assert 0.3 <= signal.reward <= 1.0


@pytest.mark.parametrize("message", BAD)
def test_corrections_and_complaints(message):
    signal = follow_up(message)
    assert signal is not None
    assert -1.0 <= signal.reward <= -0.3
    assert signal.reason


@pytest.mark.parametrize("message", NONE)
def test_ordinary_messages_are_no_verdict(message):
    assert follow_up(message) is None


def test_reasons_say_what_was_found():
    assert follow_up("That's too long.").reason == "correction: 'too long'"
    assert follow_up("Thanks!").reason == "thanks"
    assert follow_up("I said no nuts").reason == "said again: 'i said'"
    assert follow_up("Not bad!").reason == "praise: 'not bad'"


def test_a_complaint_outweighs_thanks_but_less_than_alone():
    both, alone = follow_up("Thanks, but that's too long"), follow_up("That's too long")
    assert alone.reward < both.reward < 0


def test_a_short_reply_to_the_assistants_own_question_is_no_verdict():
    for reply in ("no", "No.", "exactly", "right", "nein", "oui", "对"):
        assert follow_up(reply, answer="Shall I add nuts?") is None
    assert follow_up("no", answer="I added nuts.").reward < 0
    assert follow_up("that's wrong", answer="Shall I add nuts?").reward < 0


def test_a_late_correction_counts_in_a_short_message_only():
    assert follow_up("The capital of Australia is Canberra, you're wrong").reward < 0
    filler = "and then the long story goes on with many more words about the sea and the hills "
    assert follow_up(f"{filler * 2}. You're wrong") is None


def test_the_same_question_again():
    again = follow_up("How do I fix a flat bike tire?", question="How do I fix a flat bike tire?")
    other = follow_up("How can I fix the flat tire on my bike?", question="How do I fix a flat bike tire?")
    older = follow_up("How can I fix the flat tire on my bike?", earlier=["How do I fix a flat bike tire?"])
    assert (again.reason, other.reason) == ("the same question again", "the same question in other words")
    assert other.reward < again.reward < older.reward < 0
    assert follow_up("自行车轮胎怎么修理", question="如何修理自行车轮胎").reward < 0


@pytest.mark.parametrize(
    ("message", "question"),
    [
        ("What is the capital of Spain?", "What is the capital of France?"),
        ("What is the weather in London tomorrow?", "What is the weather in Paris tomorrow?"),
        ("how do I sort a list of dicts by key in java", "how do I sort a list of dicts by key in python"),
        ("how do I sort a list of dicts by key in java now", "how do I sort a list of dicts by key in python now"),
        ("How tall is the tower?", "How old is the tower?"),
        ("What happened in the war of 1870 in Europe?", "And what happened in the Europe war of 1914?"),
        ("tea", "tea"),
        ("", "Hello there, how are you?"),
        ("x " * 2_000, "x " * 2_000),
    ],
)
def test_another_question_of_the_same_form_is_no_repeat(message, question):
    assert repeated_question(message, question, [question]) is None


def test_a_constraint_said_again():
    cake = "A recipe for a cake without nuts please, no nuts"
    assert follow_up("No nuts!", question=cake).reason == "said again: 'no nuts'"
    assert follow_up("No nuts!", earlier=[cake]).reward < 0
    assert follow_up("No nuts!") is None
    assert repeated_constraint("No milk please", cake, []) is None
    assert repeated_constraint("And a bread recipe with seeds for ten people, no nuts", cake, []) is None
    assert repeated_constraint("nuts", cake, []) is None
    assert follow_up("I said no nuts!", question=cake).reason == "said again: 'i said'"


@given(st.text(max_size=200), st.none() | st.text(max_size=80), st.none() | st.text(max_size=80))
def test_it_never_raises_and_rewards_stay_in_range(message, question, answer):
    signal = follow_up(message, question=question, answer=answer, earlier=[message[:9]])
    assert signal is None or -1.0 <= signal.reward <= 1.0


@given(st.sampled_from(GOOD + BAD + NONE), st.sampled_from([str.lower, str.upper, str.strip]))
def test_case_does_not_matter(message, change):
    assert follow_up(change(message)) == follow_up(message)


@pytest.mark.parametrize("piece", ["no ", "?", "不", "thanks, ", "not ", "a", " ", "but "])
def test_time_is_bounded(piece):
    text = piece * (5_000_000 // len(piece))
    begin = time.perf_counter()
    follow_up(text, question=text, answer=text, earlier=[text] * 30)
    assert time.perf_counter() - begin < 2.0
