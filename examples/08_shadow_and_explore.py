"""Try it without risk: watch in shadow mode, then draw a little and ask what other strengths would have earned.

The readers here are simulated, so that the estimates can be held against the truth; with yours only the log exists.
"""

from collections.abc import Sequence

import numpy as np
from langchain_chroma import Chroma
from langgraph.store.memory import InMemoryStore

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever
from langchain_persona.experiments import ExperimentRetriever, evaluate

SUBJECTS = ["wine", "chess", "whales", "trains", "opera", "mountains", "robots", "bread", "football", "stars"]
FORMS = ["a short introduction to {}", "the long history of {}", "a novel about {}", "poems on {}", "a quiz on {}"]
BOOKS = [form.format(subject) for subject in SUBJECTS for form in FORMS]
READERS = [f"reader-{number}" for number in range(16)]
STRENGTHS = (0.0, 0.25, 0.5)
QUESTIONS = ["something to read", "a book for the weekend", "a present for a friend"]

rng = np.random.default_rng(4)
model = LocalEmbeddings()
vectors = np.array(model.embed_documents(BOOKS))
books = Chroma.from_texts(BOOKS, model, ids=BOOKS)
liked = {reader: set(rng.choice(SUBJECTS, size=4, replace=False)) for reader in READERS}


def opinion(reader: str, book: str) -> float:
    """A reader likes four subjects and no other, and is not always sure."""
    yes = any(subject in book for subject in liked[reader])
    return 1.0 if yes else -0.5


def rate(retriever: VARSRetriever, strengths: Sequence[float] = ()) -> dict[float, float]:
    """Every reader rates whatever is shown; beside it, what other strengths would have shown at that moment earns."""
    earned: dict[float, list[float]] = {strength: [] for strength in strengths}
    for reader in READERS:
        for question in QUESTIONS:
            for strength, rewards in earned.items():
                others = retriever.invoke(question, user_id=reader, strength=strength)
                rewards += [opinion(reader, str(book.id)) for book in others]
            for book in retriever.invoke(question, user_id=reader):
                retriever.feedback(book, opinion(reader, str(book.id)), user_id=reader)
    return {strength: float(np.mean(rewards)) for strength, rewards in earned.items()}


print("1. In shadow mode everybody sees the plain ranking, and it learns.")
memory = PersonaMemory(InMemoryStore())
shadow = ExperimentRetriever(vectorstore=books, memory=memory, k=3, shadow=True)
rate(shadow)
shown = [book.metadata["persona"] for reader in READERS for book in shadow.invoke(QUESTIONS[0], user_id=reader)]
same = float(np.mean([why["shadow_rank"] <= 3 for why in shown]))
print(f"{same:.0%} of what the readers see would be among the first three for them too.")

print("\n2. Now some chance decides what is shown, and every document's chance is logged.")
drawing = ExperimentRetriever(vectorstore=books, memory=memory, k=3, strength=0.25, explore=0.1, seed=5)
rounds = [rate(drawing, STRENGTHS) for _ in range(2)]
truth = {strength: float(np.mean([one[strength] for one in rounds])) for strength in STRENGTHS}
evaluation = evaluate(memory, STRENGTHS)
print(evaluation)

print("\n3. The truth, which only a simulation has:")
for strength, mean in truth.items():
    estimated = evaluation.estimates[strength]
    low, high = estimated.snips_interval
    where = "inside" if low <= mean <= high else "outside"
    print(f"strength {strength:g}: mean reward {mean:+.3f}, estimated {estimated.snips:+.3f}: {where} its interval")
