"""A graph of one node that answers at once with one constant message.

It has no model, no network and no key, so that a run costs what LangGraph's
server costs: HTTP, queue, worker, graph. The node is `async` because a plain
function would be sent through a thread pool.
"""

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

ANSWER = "The quick brown fox jumps over the lazy dog."


async def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
    """Append the constant message (a new object: the reducer gives it its id)."""
    return {"messages": [AIMessage(ANSWER)]}


graph = (
    StateGraph(MessagesState)
    .add_node("answer", answer)
    .add_edge(START, "answer")
    .add_edge("answer", END)
    .compile()
)
