"""The same memory over another vector store, and behind a retriever that has none at all.

`InMemoryVectorStore` stands for every LangChain vector store: FAISS, Qdrant, pgvector, … The second half re-ranks what
a keyword search found: `PersonalizedCompressor` needs nothing but the documents.
"""

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.store.memory import InMemoryStore

from langchain_persona import LocalEmbeddings, PersonalizedCompressor, PersonaMemory, VARSRetriever

TRIPS = [
    "a week of hiking from hut to hut",
    "a week in the city: museums and concerts",
    "a week of sailing along the coast",
    "a week of restaurants in the old city",
    "a week in a cabin by a mountain lake",
    "a week of camping in the hills",
]
QUESTION = "somewhere for a week"


def main() -> None:
    store = InMemoryVectorStore.from_texts(TRIPS, LocalEmbeddings())
    memory = PersonaMemory(InMemoryStore(), LocalEmbeddings())
    retriever = VARSRetriever(vectorstore=store, memory=memory, k=3, user_id="ana")

    def show(when: str, documents: list[Document]) -> None:
        print(f"{when:<28}{' > '.join(document.page_content.removeprefix('a week ') for document in documents)}")

    show("before:", retriever.invoke(QUESTION))
    for document in retriever.invoke(QUESTION, k=len(TRIPS)):
        retriever.feedback(document, 1.0 if "city" in document.page_content else -1.0)
    show("Ana likes the city:", retriever.invoke(QUESTION))

    found = [Document(trip) for trip in TRIPS if "of" in trip.split()]
    show("keyword search for 'of':", found)
    show("the same for Ana:", PersonalizedCompressor(memory=memory, user_id="ana").compress_documents(found, QUESTION))


if __name__ == "__main__":
    main()
