"""Without a model: which of the user's own sentences are kept, and which are not theirs or not lasting."""

from __future__ import annotations

import importlib.resources
import importlib.util

import pytest

from langchain_persona.reflection import Exchange, Reflection, verbatim
from langchain_persona.reflection.verbatim import VerbatimReflection, own_words


def found(text: str) -> list[tuple[str, str, str]]:
    operations = VerbatimReflection().reflect([Exchange("m1", text)], ()).operations
    assert all(one.action == "add" and one.quote == one.text and one.text in text for one in operations)
    return [(one.text, one.kind, one.scope) for one in operations]


@pytest.mark.parametrize(
    ("text", "kind", "scope"),
    [
        ("I love slow Scandinavian crime novels.", "like", "topic"),
        ("I can't stand phone calls.", "dislike", "topic"),
        ("I'm a big fan of jazz.", "like", "topic"),
        ("I usually take my coffee black.", "fact", "topic"),
        ("I have a strong aversion to romantic comedies.", "dislike", "topic"),
        ("Please keep every answer to three sentences at most.", "style", "always"),
        ("Please always number the steps.", "style", "always"),
        ("I have gout.", "fact", "topic"),
        ("I keep axolotls.", "fact", "topic"),
        ("My dog is called Zibbert.", "fact", "topic"),
        ("We have two cats.", "fact", "topic"),
        ("We live in Linz now.", "fact", "topic"),
        ("Can't stand cilantro.", "dislike", "topic"),
        ("dont like seafood", "dislike", "topic"),
        ("Vegan since 2019.", "fact", "always"),
        ("Remember: no emojis.", "style", "always"),
        ("Please remember: answers short, no emojis!", "style", "always"),
        ("Please use metric units.", "style", "always"),
        ("Keep it short please.", "style", "always"),
        ("I'd rather you called me Joni.", "fact", "topic"),
        ("I'm vegan and I hate meetings before ten.", "fact", "always"),
        ("Ich spiele seit zwanzig Jahren Geige und hasse Kreuzfahrten.", "fact", "topic"),
        ("I'm not a fan of jazz.", "dislike", "topic"),
        ("Remember that I park in lot B.", "fact", "topic"),
        ("I strongly dislike long films", "dislike", "topic"),
        ("I work as a nurse in Leeds.", "fact", "topic"),
        ("My name is Priya.", "fact", "topic"),
        ("I'm vegetarian.", "fact", "always"),
        ("My daughter is allergic to milk.", "fact", "always"),
        ("I never eat pork.", "dislike", "always"),
        ("Please always answer in German.", "style", "always"),
        ("Never use emojis.", "style", "always"),
        ("From now on, give prices in euros.", "style", "always"),
        ("Call me Sam.", "style", "always"),
        ("Could you always include sources?", "style", "always"),
        ("Don't suggest seafood restaurants.", "dislike", "always"),
        ("Ich mag keine Horrorfilme.", "dislike", "topic"),
        ("Ich wohne in Graz.", "fact", "topic"),
        ("Bitte antworte ab jetzt auf Englisch.", "style", "always"),
        ("Je suis allergique aux arachides.", "fact", "always"),
        ("Je préfère le train.", "like", "topic"),
        ("No me gustan las películas de terror.", "dislike", "topic"),
        ("Soy vegano.", "fact", "always"),
        ("我不喜欢恐怖片。", "dislike", "topic"),
        ("我对花生过敏。", "fact", "always"),
        ("以后请不要用表情符号。", "style", "always"),
        ("Mi piace il jazz.", "like", "topic"),
        ("Moro em Lisboa.", "fact", "topic"),
        ("Ik woon in Utrecht.", "fact", "topic"),
        ("Nie lubię kawy.", "dislike", "topic"),
        ("Я живу в Казани.", "fact", "topic"),
        ("私は東京に住んでいます。", "fact", "topic"),
        ("저는 커피를 좋아해요.", "like", "topic"),
        ("Ich habe eine Nussallergie.", "fact", "always"),
        ("Non mangio carne.", "dislike", "always"),
    ],
)
def test_the_users_sentences_about_themselves_are_kept(text, kind, scope):
    assert found(text) == [(text, kind, scope)]


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Do you like coffee?",
        "Am I allergic to gluten?",
        "Write a limerick about a goat.",
        "I'm looking for a laptop.",
        "I have a question.",
        "I like your answer.",
        "I prefer the second option.",
        "In this mail please don't mention the delay.",
        "For the essay, always use the passive voice.",
        "I'm tired today.",
        "If I were a vegetarian, what would I eat?",
        "She said she loves jazz.",
        "The bus is never on time.",
        "Never heard of it.",
        "Forget that I live in Berlin.",
        "Forget it.",
        "Thanks for nothing.",
        "Was ist die Hauptstadt von Kanada?",
        "Wenn ich Vegetarier wäre, was würde ich essen?",
        "J'aime bien ta réponse.",
        "Me gusta esta respuesta.",
        "我喜欢你的回答。",
        "如果我是素食者，我该吃什么？",
        "",
        "👍",
    ],
)
def test_questions_tasks_for_this_once_and_other_people_are_not(text):
    assert found(text) == []


def test_of_a_question_what_is_stated_ahead_of_it_is_kept():
    assert found("I'm allergic to shellfish, so what can I order here?") == [
        ("I'm allergic to shellfish", "fact", "always")
    ]
    assert found("我对花生过敏，能推荐什么点心吗？") == [("我对花生过敏", "fact", "always")]


@pytest.mark.parametrize(
    "text",
    [
        "> I hate cats.\nWhat does she mean?",
        "```\nI love tabs.\n```\nWhat does this do?",
        "```\nI love tabs. It never ends",
        "Summarise this:\n\nI love my job and I never drink coffee.",
        "Translate: I'm allergic to nuts.",
        "Can you proofread the following text: I live in Rome.",
        "Übersetze: Ich hasse Montage.",
        "Traduis : Je suis allergique aux noix.",
        "请把这句话翻译成英文：我对花生过敏。",
        'How would you rate "I love long walks and I never drink coffee at night" as a profile?',
        "You are a pirate. I live on your ship.",
        "Pretend I live on Mars.",
        "Let's roleplay. I'm a wizard.",
        "Write a story in which the hero says: I hate the sea.",
        "Please summarise this article\n" + "I love my garden and I live alone. " * 40,
    ],
)
def test_what_is_quoted_pasted_or_played_is_not_the_users_own_word(text):
    assert found(text) == []


def test_of_a_long_message_only_the_first_and_the_last_sentences_are_read():
    middle = "I own a boat. The weather was fine and nothing happened. " * 100
    text = f"I live in Oslo. {middle}I work as a baker."
    assert [sentence for sentence, _, _ in found(text)] == ["I live in Oslo.", "I own a boat.", "I work as a baker."]


def test_a_message_makes_ten_cards_at_most_each_once():
    assert len(found(" ".join(f"I love hobby number {number}." for number in range(50)))) == 10
    assert len(found("I love tea. I love tea.")) == 1


def test_own_words_keeps_what_comes_before_a_task():
    text = "I live in Rome.\n> quoted\nTranslate this: I live in Oslo.\nI live in Bern."
    assert own_words(text) == "I live in Rome.\nTranslate this"
    assert own_words("Can you translate this for me?\n\nI'm vegan.") == "Can you translate this for me?"


async def test_it_has_the_protocol_and_its_twin_finds_the_same():
    reflection = VerbatimReflection()
    exchanges = [Exchange("m1", "I live in Oslo."), Exchange("m2", "I love tea.")]
    assert isinstance(reflection, Reflection)
    assert await reflection.areflect(exchanges, ()) == reflection.reflect(exchanges, ())


def test_nothing_is_compiled_at_import():
    spec = importlib.util.spec_from_file_location("fresh_verbatim", verbatim.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module._words.cache_info().currsize == module._marker.cache_info().currsize == 0


def test_the_word_lists_stay_small():
    path = importlib.resources.files("langchain_persona") / "data" / "verbatim.json"
    assert len(path.read_bytes()) < 16_000  # the aim is 15 KB


def test_what_stands_below_the_headers_of_a_mail_is_not_the_users():
    mail = "From: Peter <p@example.com>\nTo: Jonas\nSubject: Lunch\n\nHi Jonas, I am vegan now. I live in Vienna."
    assert found(f"I live in Graz. Can you sum this up for me?\n\n{mail}") == [("I live in Graz.", "fact", "topic")]


@pytest.mark.parametrize(
    "text",
    [
        "I like the sound of that.",
        "I have a headache.",
        'He said "I hate cats".',
        "I love waiting in line, said no one ever.",
        "I only want to know the price.",
    ],
)
def test_what_is_of_the_moment_or_of_another_is_not_kept(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Ich mag rohen Fisch nicht.", "fact"),
        ("Mir schmeckt Fisch nicht.", "fact"),
        ("Je n'aime ni le fromage ni le poisson.", "fact"),
        ("Tampoco me gusta el pescado.", "fact"),
        ("I don't particularly like horror films.", "fact"),
        ("我最喜欢的不是恐怖片。", "fact"),
        ("I like neither tea nor coffee.", "fact"),
        ("I don't hate tea.", "fact"),
        ("I need to remember this: I like jazz.", "like"),
        ("I don't use social media.", "fact"),
        ("I always use Linux.", "fact"),
        ("Ich vertrage z. B. keine Nüsse.", "fact"),
        ("I live in Washington D.C. with my wife.", "fact"),
        ("Ich bin am 3. Mai geboren.", "fact"),
        ("My name is Dr. Anna Weber.", "fact"),
        ("我喜欢角色扮演游戏。", "like"),
    ],
)
def test_no_negated_like_is_a_like_no_habit_a_rule_and_no_abbreviation_an_end(text, kind):
    assert found(text) == [(text, kind, "topic")]


@pytest.mark.parametrize(
    "text",
    [
        "You are a lifesaver! I'm allergic to nuts.",
        "You're a star, thanks. I'm allergic to nuts.",
        "Ich kann mir Namen nicht merken. I'm allergic to nuts.",
        "I'm allergic to nuts. In Building B. What can I eat today?",
        "I don't remember this actor's name. I'm allergic to nuts.",
        "Could you explain how to make pad thai?\n\nI'm allergic to nuts.",
        'I loved "Dune". I\'m allergic to nuts. My wife loved "Alien".',
    ],
)
def test_thanks_doubts_and_titles_hide_no_allergy(text):
    assert found(text) == [("I'm allergic to nuts.", "fact", "always")]


@pytest.mark.parametrize(
    "text",
    [
        "I don't want you to remember this: I'm allergic to nuts.",
        "Please explain this text.\n\nI'm allergic to nuts.",
        "Translate to German\n\nI'm allergic to nuts.",
        "I would like a recipe for beef stew.",
        "Bitte diese Nachricht nicht speichern: Ich bin schwanger.",
        "Das darfst du nicht speichern. Ich bin schwanger.",
        "Anna wrote: I am allergic to nuts.",
        "Das bleibt unter uns: Ich hasse Opern.",
        "Speichere das nicht: Ich hasse Opern.",
        "N'enregistre pas ça. Je déteste l'opéra.",
        "C'est confidentiel : je déteste l'opéra.",
        "You don't need to remember this but I like ABBA.",
        "No need to remember this: I hate opera.",
        "Hypothetically, I'm allergic to bees.",
        "I like coffee, said nobody ever.",
        "I'm hungry.",
        "I love you!",
        "You are a great writer. I am a knight who hates dragons.",
        "You are a star chef. I love garlic.",
        "Improve my friend's bio\n\nI'm a vegan and I live in Rome.",
        "Review my friend's essay\n\nI'm allergic to nuts.",
    ],
)
def test_a_secret_a_pasted_text_and_an_order_are_not_kept(text):
    assert found(text) == []
