"""A thumb may come late and from another process: all it needs is the retrieval's id.

This process answers a question and shows a ranking. A second process (the web server that gets the click, say) records
the thumb in the same store. The next ranking here has moved. A second delivery of the click changes nothing, and a
withdrawn thumb leaves no trace.
"""

import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from langchain_persona import PersonaMemory

USER = "ana@example.com"
DISHES = ["lentil soup", "beef stew", "bean soup", "chicken soup"]


def open_memory(path: str) -> PersonaMemory:
    """One SQLite file, shared by both processes."""
    from langgraph.store.sqlite import SqliteStore

    store = SqliteStore(sqlite3.connect(path, check_same_thread=False, isolation_level=None))
    store.setup()
    return PersonaMemory(store)


def click(path: str, retrieval_id: str, dish: str) -> None:
    """The second process: no vector database, no embedding model, only the store."""
    receipt = open_memory(path).feedback(USER, retrieval_id, reward=1.0, docs=dish, key=f"click-{retrieval_id}")
    print(receipt.id)
    print(f"  other process: applied={receipt.applied} {receipt.reason}", file=sys.stderr)


def main(path: str) -> None:
    """The first process."""
    from langchain_chroma import Chroma

    from langchain_persona import LocalEmbeddings, VARSRetriever

    memory = open_memory(path)
    chroma = Chroma.from_texts(DISHES, LocalEmbeddings(), ids=DISHES)
    retriever = VARSRetriever(vectorstore=chroma, memory=memory, k=3, user_id=USER)

    def ranking(when: str) -> list[str]:
        docs = retriever.invoke("a warm soup for dinner")
        scores = [f"{doc.id} ({doc.metadata['persona']['score']:.3f})" for doc in docs]
        print(f"{when + ':':<11}{' > '.join(scores)}", flush=True)
        return [docs[0].metadata["persona"]["retrieval_id"], *(str(doc.id) for doc in docs)]

    retrieval_id, *dishes = ranking("before")
    last = dishes[-1]
    print(f"thumbs up for the last one, {last!r}, twice with one key:", flush=True)
    command = [sys.executable, __file__, "click", path, retrieval_id, last]
    feedback_id = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ranking("after")
    print(f"{memory.explain(USER).events} thumb counts; withdrawing it")
    memory.withdraw(USER, feedback_id)
    ranking("withdrawn")


if __name__ == "__main__":
    if sys.argv[1:2] == ["click"]:
        click(*sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(str(Path(folder) / "persona.sqlite3"))
