"""The official client holds a conversation with a server: openai_client.py BASE_URL. Fails by exception."""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
models = [model.id for model in client.models.list()]
assert models == ["test"], models
assert client.models.retrieve("test").id == "test"

conversation = [{"role": "user", "content": "When does the Marrow ferry leave?"}]
first = client.chat.completions.create(model="test", messages=conversation, max_tokens=24, temperature=0)
answer = first.choices[0]
assert answer.message.role == "assistant" and answer.message.content, answer
assert answer.finish_reason in ("stop", "length"), answer
assert first.usage.prompt_tokens > 20 and 0 < first.usage.completion_tokens <= 24, first.usage
assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
assert first.tunesmith["arm"] == "rag" and first.tunesmith["seconds"]["total"] > 0, first.tunesmith

again = client.chat.completions.create(model="test", messages=conversation, max_tokens=24, temperature=0)
assert again.choices[0].message.content == answer.message.content, "greedy answers repeat"

conversation += [
    {"role": "assistant", "content": answer.message.content},
    {"role": "user", "content": "How many passengers does the Marrow ferry carry?"},
]
whole = client.chat.completions.create(model="test", messages=conversation, max_tokens=24, temperature=0)
chunks = list(
    client.chat.completions.create(
        model="test",
        messages=conversation,
        max_tokens=24,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
)
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert streamed == whole.choices[0].message.content, (streamed, whole)
assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
assert chunks[-1].usage == whole.usage, chunks[-1]

for error, arguments in (
    (openai.NotFoundError, {"model": "other"}),
    (openai.BadRequestError, {"temperature": 3}),
    (openai.BadRequestError, {"messages": []}),
):
    request = {"model": "test", "messages": conversation, "max_tokens": 4} | arguments
    try:
        client.chat.completions.create(**request)
    except error:
        continue
    raise AssertionError(f"{arguments} was accepted")
