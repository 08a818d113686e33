"""Whether a concurrent history could have come from one thing that does one operation at a time.

A history is a list of operations, each with the times of its call and its answer; `None` for the answer says that nobody knows
whether, or when, it was done. The search is Wing and Gong's with Lowe's memory of states: it takes any operation that may come first,
one that was called before every operation that is left was answered, and goes on with the rest.
"""

from dataclasses import dataclass, field


@dataclass
class Operation:
    called: float
    answered: float | None
    kind: str
    argument: object = None
    result: object = None
    number: int = field(default=0, compare=False)


def counter(state, operation):
    """`add` gives the sum behind it, `read` the sum."""
    if operation.kind == "add":
        state += operation.argument
    return state, state


def register(state, operation):
    """`set` gives nothing, `read` what was set last."""
    if operation.kind == "set":
        return operation.argument, None
    return state, state


def is_linearizable(history, model, initial):
    """Whether there is an order. Operations without an answer may stand anywhere behind their call, or nowhere."""
    # What nobody answered to, and nobody has seen, may as well not have been.
    seen_values = {operation.result for operation in history if operation.answered is not None}
    operations = sorted(
        (operation for operation in history
         if operation.answered is not None or operation.kind != "set" or operation.argument in seen_values),
        key=lambda operation: operation.called)
    for number, operation in enumerate(operations):
        operation.number = number
    endless = float("inf")
    known = sum(1 << operation.number for operation in operations if operation.answered is not None)
    # What is left to look at: (operations that are done, state).
    stack = [(0, initial)]
    seen = set(stack)
    while stack:
        done, state = stack.pop()
        if done & known == known:
            return True
        # No operation may come before one that was answered before it was called: those that may are called before the first
        # answer of those that are left, and stand together behind what is done.
        first_answer = endless
        left = []
        for number in range((~done & (done + 1)).bit_length() - 1, len(operations)):
            operation = operations[number]
            if operation.called > first_answer:
                break
            if not done >> number & 1:
                left.append(operation)
                if operation.answered is not None:
                    first_answer = min(first_answer, operation.answered)
        tried = set()
        for operation in left:
            if operation.called > first_answer:
                break
            if operation.answered is None:
                # Of those that are alike the one that was called first will do.
                if (operation.kind, operation.argument) in tried:
                    continue
                tried.add((operation.kind, operation.argument))
            after, result = model(state, operation)
            if operation.answered is not None and operation.kind != "set" and result != operation.result:
                continue
            found = (done | 1 << operation.number, after)
            if found not in seen:
                seen.add(found)
                stack.append(found)
    return False
