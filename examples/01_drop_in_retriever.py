"""A RAG chain that learns: what it takes is two lines.

Runs without a key: the "model" is a function that recommends the first thing in its context.
"""

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langgraph.store.memory import InMemoryStore

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever

FILMS = {
    "Paris in Love": "a romantic comedy about two strangers who fall in love",
    "The Wedding Guest": "a tender love story at a wedding by the sea",
    "Letters to Clara": "a romance told in letters, with a happy end",
    "Second Spring": "a warm comedy about finding love again",
    "Red Orbit": "a science fiction thriller aboard a space station",
    "The Last Signal": "astronauts follow a message from a distant planet",
    "Machine Dawn": "science fiction: robots and humans at war",
    "Colony Nine": "settlers on Mars fight for survival in space",
}
chroma = Chroma.from_texts([f"{title}: {plot}" for title, plot in FILMS.items()], LocalEmbeddings(), ids=list(FILMS))


def build(retriever: BaseRetriever) -> Runnable[str, str]:
    """The chain: the same code for both retrievers."""
    prompt = ChatPromptTemplate.from_template("Recommend one film.\n{context}\n\nQuestion: {question}")

    def join(docs: list[Document]) -> str:
        return "\n".join(doc.page_content for doc in docs)

    def model(prompt: PromptValue) -> AIMessage:
        return AIMessage(f"How about {prompt.to_string().splitlines()[1]}?")

    context = {"context": retriever | join, "question": RunnablePassthrough()}
    return context | prompt | RunnableLambda(model) | StrOutputParser()


# before
retriever = chroma.as_retriever(search_kwargs={"k": 4})
plain = build(retriever)

# after: these two lines
memory = PersonaMemory(InMemoryStore())
retriever = VARSRetriever(vectorstore=chroma, memory=memory, k=4)
personal = build(retriever)

question = "A good film for tonight?"
ana, bob = ({"configurable": {"user_id": name}} for name in ("ana@example.com", "bob@example.com"))
print("before:            ", plain.invoke(question))
print("after, Ana is new: ", personal.invoke(question, ana))

for evening in ("A good film for tonight?", "What should I watch?", "Something for the weekend?"):
    for doc in retriever.invoke(evening, ana):
        romantic = list(FILMS).index(doc.id) < 4
        retriever.feedback(doc, -1.0 if romantic else 1.0, ana)

print("Ana, three evenings:", personal.invoke(question, ana))
print("Bob, no thumbs:     ", personal.invoke(question, bob))
