"""Learning from everybody: what thirty users' thumbs have in common teaches the next one's ranking after three.

`memory.fit()` fits a preference space from all ledgers in the store: long axes where tastes differ, short ones where
nobody cares. Users here are simulated: they like the dark books or the bright ones, whatever these are about.
"""

import chromadb
import numpy as np
from langgraph.store.memory import InMemoryStore

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever

SUBJECTS = ["whales", "trains", "chess", "wine", "bread", "robots", "stars", "mountains", "opera", "football"]
SUBJECTS += ["ferries", "gardens", "clocks", "bees"]
MOODS = {
    "dark": ["a bleak and violent story about {}", "a grim tale of grief and {}"],
    "bright": ["a cheerful and warm story about {}", "a funny tale of friends and {}"],
}
BOOKS = {form.format(subject): mood for mood, forms in MOODS.items() for form in forms for subject in SUBJECTS}
TEACHERS, NEWCOMERS = 30, 16

model = LocalEmbeddings()
shelf = chromadb.EphemeralClient().get_or_create_collection("shelf", metadata={"hnsw:space": "cosine"})
shelf.add(ids=list(BOOKS), documents=list(BOOKS), embeddings=model.embed_documents(list(BOOKS)))
memory = PersonaMemory(InMemoryStore())
retriever = VARSRetriever(vectorstore=shelf, embeddings=model, memory=memory, k=6)
rng = np.random.default_rng(1)


def rate(user: str, likes: str, thumbs: int) -> None:
    """A user asks for what comes to mind, and rates what is found; one thumb in ten is a slip."""
    for subject in rng.choice(SUBJECTS, size=thumbs, replace=False):
        found = retriever.invoke(f"a book about {subject}", user_id=user)
        book = found[int(rng.integers(len(found)))]
        right = (BOOKS[str(book.id)] == likes) != (rng.random() < 0.1)
        retriever.feedback(book, 1.0 if right else -1.0, user_id=user)


def pleased(newcomers: dict[str, str]) -> float:
    """The share of the first six books, for a question on nothing in particular, that the user likes."""
    shares = [
        np.mean([BOOKS[str(book.id)] == likes for book in retriever.invoke("something to read", user_id=user)])
        for user, likes in newcomers.items()
    ]
    return float(np.mean(shares))


tastes = list(MOODS)
for number in range(TEACHERS):
    rate(f"teacher-{number}", tastes[number % 2], thumbs=12)
newcomers = {f"newcomer-{number}": tastes[number % 2] for number in range(NEWCOMERS)}
print(f"newcomers without a thumb: {pleased(newcomers):.0%} of what is shown is to their taste")
for user, likes in newcomers.items():
    rate(user, likes, thumbs=3)
print(f"after three thumbs: {pleased(newcomers):.0%}")

space = memory.fit(progress=True)
print(f"fitted from {space.about['users']} users: {space.id}")
print(f"the same thumbs, in that space: {pleased(newcomers):.0%}")

memory.use_space(None)
print(f"and back: {pleased(newcomers):.0%}")
