"""A thumb may come late and from another process: all it needs is the retrieval's id.

This process answers a question and shows a ranking. A second process (the web server that gets the click, say) records
the thumb in the same folder. The next ranking here has moved. A second delivery of the click changes nothing, and a
withdrawn thumb leaves no trace.
"""

import subprocess
import sys
import tempfile

from langchain_chroma import Chroma

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever

USER = "ana@example.com"
DISHES = ["lentil soup", "beef stew", "bean soup", "chicken soup"]


def click(folder: str, retrieval_id: str, dish: str) -> None:
    """The second process: it has no vector database, only the memory."""
    with PersonaMemory.local(folder) as memory:
        receipt = memory.feedback(USER, retrieval_id, reward=1.0, docs=dish, key=f"click-{retrieval_id}")
    print(f"  other process: applied={receipt.applied} {receipt.reason}", flush=True)


def main(folder: str) -> None:
    """The first process."""
    memory = PersonaMemory.local(folder)
    chroma = Chroma.from_texts(DISHES, LocalEmbeddings(), ids=DISHES)
    retriever = VARSRetriever(vectorstore=chroma, memory=memory, k=3, user_id=USER)

    def ranking(when: str) -> list[str]:
        docs = retriever.invoke("a warm soup for dinner")
        scores = [f"{doc.id} ({doc.metadata['persona']['score']:.3f})" for doc in docs]
        print(f"{when + ':':<11}{' > '.join(scores)}", flush=True)
        return [docs[0].metadata["persona"]["retrieval_id"], *(str(doc.id) for doc in docs)]

    retrieval_id, *dishes = ranking("before")
    print(f"thumbs up for the last one, {dishes[-1]!r}, twice with one key:", flush=True)
    for _ in range(2):
        subprocess.run([sys.executable, __file__, "click", folder, retrieval_id, dishes[-1]], check=True)
    ranking("after")
    for rating in memory.ratings(USER):
        print(f"learned from: {rating.source} {rating.reward:+g} for {rating.titles[0]!r}; withdrawing it")
        memory.withdraw(USER, rating.id)
    ranking("withdrawn")
    memory.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["click"]:
        click(*sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as place:
            main(place)
