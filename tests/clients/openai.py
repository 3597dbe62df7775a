"""A user's program on OpenAI's Python library. Prints what it saw of the gateway at argv[1], as one JSON object."""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="client-key", max_retries=0)
MESSAGES = [{"role": "user", "content": "你好"}]


def chat(model, **more):
    answer = client.chat.completions.create(model=model, messages=MESSAGES, **more)
    message = answer.choices[0].message
    seen = {"content": message.content, "total_tokens": answer.usage.total_tokens}
    if reasoning := getattr(message, "reasoning_content", None):
        seen["reasoning"] = reasoning
    return seen


def stream(model, **more):
    ids, texts, reasoning, total_tokens, finish_reason = set(), [], [], None, None
    for chunk in client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **more):
        ids.add(chunk.id)
        total_tokens = chunk.usage.total_tokens if chunk.usage else total_tokens
        for choice in chunk.choices:
            texts += [choice.delta.content] if choice.delta.content else []
            reasoning += [text] if (text := getattr(choice.delta, "reasoning_content", None)) else []
            finish_reason = choice.finish_reason or finish_reason
    seen = {"content": texts, "ids": len(ids), "finish_reason": finish_reason}
    if reasoning:
        # How it is cut up depends on what arrives together.
        seen["reasoning"] = "".join(reasoning)
    if total_tokens:
        seen["total_tokens"] = total_tokens
    return seen


def error(call, *args, **more):
    try:
        return {"no error": str(call(*args, **more))}
    except openai.APIStatusError as e:
        return {"class": type(e).__name__, "status": e.status_code, "code": e.code, "has_id": bool(e.request_id)}
    except openai.APIError as e:
        return {"class": type(e).__name__, "code": e.code}


def responses():
    events = client.responses.create(model="good", input="你好", stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def embedding():
    return client.embeddings.create(model="good", input="text").data[0].embedding


stranger = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="wrong", max_retries=0)
print(
    json.dumps(
        {
            "chat": chat("good"),
            "stream": stream("good"),
            "models": [model.id for model in client.models.list()],
            "model": client.models.retrieve("good").owned_by,
            "embedding": embedding(),
            "responses": responses(),
            "fallback": chat("second"),
            "parameters": chat("a:good?temperature=0.7"),
            "choice": stream("a:down|a:good?seed=1"),
            "hybrid": chat("hybrid:[a:thinks,a:good?temperature=0.1]"),
            "hybrid stream": stream("hybrid:[a:thinks,a:good]"),
            "bad model string": error(chat, "a:good?temperature=3"),
            "wrong key": error(stranger.models.list),
            "unknown model": error(chat, "godo"),
            "bad request": error(chat, "refuses"),
            "throttled": error(chat, "throttled"),
            "down": error(chat, "down"),
            "closed": error(chat, "closed"),
            "cut stream": error(stream, "cut"),
        }
    )
)
