"""What a user says changes the ranking before any thumb, and every document says which words moved it.

The user says one sentence. It is kept as a card of kind "dislike", and the very next ranking moves: still one query to
the vector store. A thumb comes on top. A question about something else is answered as before. When the user changes
their mind the card is retired, and it is silent at once.
"""

from langchain_chroma import Chroma
from langgraph.store.memory import InMemoryStore

from langchain_persona import LocalEmbeddings, PersonaMemory, PreferenceCard, VARSRetriever

USER = "ana@example.com"
FILMS = {
    "ghost": "a horror film about a ghost in an old house",
    "cabin": "a horror film about a cabin in the woods",
    "wedding": "a romantic comedy film about a wedding in Rome",
    "dog": "a comedy film for families about a dog who becomes mayor",
    "whales": "a documentary film about the quiet life of whales",
    "night-train": "how to book a night train to Vienna",
}

model = LocalEmbeddings()
memory = PersonaMemory(InMemoryStore(), model)
films = Chroma.from_texts(
    list(FILMS.values()), model, ids=list(FILMS), collection_configuration={"hnsw": {"space": "cosine"}}
)
retriever = VARSRetriever(vectorstore=films, memory=memory, k=5, user_id=USER)


def ranking(when: str, question: str = "a scary or a funny film for tonight") -> None:
    print(f"{when + ':':<15}{' > '.join(str(doc.id) for doc in retriever.invoke(question))}")


ranking("before")
card = memory.remember(USER, PreferenceCard(text="I can't stand horror films", kind="dislike"))
ranking("said")
last = retriever.invoke("a scary or a funny film for tonight")
for doc in last:
    why = doc.metadata["persona"]
    words = ", ".join(f"{one['text']!r} {one['share']:+.3f}" for one in why["cards"])
    print(f"  {doc.id}: {why['score']:.3f} = {why['base']:.3f} relevance {why['words']:+.3f} words ({words})")
print(memory.explain(USER))
ranking("another topic", "a train to Vienna")
memory.retire(USER, card.id, "changed her mind")
ranking("retired")
memory.revive(USER, card.id)
retriever.feedback(next(doc for doc in last if doc.id == "wedding"), 1.0)
ranking("and a thumb")
