"""Three rankings from one memory: by similarity, by a reranker, and for diversity, each with the user's bonus on top.

The reranker here is small and honest: the share of the question's words that occur in the text, so between 0 and 1, the
scale on which the bonus is capped. In its place goes any LangChain cross encoder that gives probabilities.
"""

import re
from collections.abc import Sequence

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langgraph.store.memory import InMemoryStore

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever

TRIPS = {
    "lake-camp": "a quiet week of camping by a mountain lake",
    "lake-tent": "a quiet week in a tent at a mountain lake",
    "lake-cabin": "a wooden cabin at a lake in the mountains",
    "hut-hike": "a week of hiking from hut to hut",
    "spa-hotel": "a quiet spa hotel with thermal baths",
    "city-museums": "a week in the city: museums and concerts",
    "city-food": "a weekend of restaurants in the old city",
    "sea-sailing": "a week of sailing along the coast",
}
QUESTION = "a quiet week"


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def overlap(question: str, documents: Sequence[Document]) -> list[float]:
    """The reranker: share of the question's words in each document."""
    asked = words(question)
    return [len(asked & words(document.page_content)) / len(asked) for document in documents]


memory = PersonaMemory(InMemoryStore())
chroma = Chroma.from_texts(list(TRIPS.values()), LocalEmbeddings(), ids=list(TRIPS))
common = {"vectorstore": chroma, "memory": memory, "k": 4, "user_id": "ana@example.com"}
retrievers = {
    "similarity": VARSRetriever(**common),
    "reranked": VARSRetriever(**common, reranker=overlap),
    "diverse (MMR)": VARSRetriever(**common, search_type="mmr", lambda_mult=0.6),
}


def show(title: str) -> None:
    """The rankings side by side, each with score = base + bonus."""
    print(title)
    print("".join(f"  {name:<34}" for name in retrievers))
    for row in zip(*(retriever.invoke(QUESTION) for retriever in retrievers.values()), strict=True):
        cells = []
        for doc in row:
            why = doc.metadata["persona"]
            cells.append(f"{doc.id:<13}{why['score']:.2f} = {why['base']:.2f} {why['long'] + why['short']:+.2f}")
        print("".join(f"  {cell:<34}" for cell in cells).rstrip())


show(f"{QUESTION!r}, nothing known of Ana:")

plain = retrievers["similarity"]
for question in ("a holiday", "somewhere to go", "a trip in June"):
    for doc in plain.invoke(question, k=8):
        plain.feedback(doc, 1.0 if str(doc.id).startswith("city") else -1.0)

show("\nthe same after Ana liked what lies in a city, and nothing else:")
