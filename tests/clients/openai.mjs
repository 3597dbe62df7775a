// A user's program on OpenAI's JavaScript library. Prints what it saw of the gateway at the address in GATEWAY, as one
// JSON object.

import OpenAI, { APIError } from "openai";

const baseURL = process.env.GATEWAY + "/v1";
const client = new OpenAI({ baseURL, apiKey: "client-key", maxRetries: 0 });
const messages = [{ role: "user", content: "你好" }];

async function chat(model, more = {}) {
  const answer = await client.chat.completions.create({ model, messages, ...more });
  const { content, reasoning_content } = answer.choices[0].message;
  return {
    content,
    total_tokens: answer.usage.total_tokens,
    ...(reasoning_content && { reasoning: reasoning_content }),
  };
}

async function stream(model, more = {}) {
  const ids = new Set(), content = [], reasoning = [];
  let total_tokens, finish_reason = null;
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, ...more })) {
    ids.add(chunk.id);
    total_tokens = chunk.usage?.total_tokens ?? total_tokens;
    for (const { delta, finish_reason: reason } of chunk.choices) {
      if (delta.content) content.push(delta.content);
      if (delta.reasoning_content) reasoning.push(delta.reasoning_content);
      finish_reason = reason ?? finish_reason;
    }
  }
  return { content, ids: ids.size, finish_reason, ...(reasoning.length && { reasoning: reasoning.join("") }), ...(total_tokens && { total_tokens }) };
}

async function error(call) {
  try {
    return { "no error": await call() };
  } catch (e) {
    if (!(e instanceof APIError)) throw e;
    const seen = { class: e.constructor.name, code: e.code ?? null };
    return e.status ? { ...seen, status: e.status, has_id: Boolean(e.requestID) } : seen;
  }
}

async function responses() {
  let text = "";
  for await (const event of await client.responses.create({ model: "good", input: "你好", stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  return text;
}

async function models() {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return ids;
}

const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
console.log(
  JSON.stringify({
    chat: await chat("good"),
    stream: await stream("good"),
    models: await models(),
    model: (await client.models.retrieve("good")).owned_by,
    embedding: (await client.embeddings.create({ model: "good", input: "text" })).data[0].embedding,
    responses: await responses(),
    fallback: await chat("second"),
    parameters: await chat("a:good?temperature=0.7"),
    choice: await stream("a:down|a:good?seed=1"),
    hybrid: await chat("hybrid:[a:thinks,a:good?temperature=0.1]"),
    "hybrid stream": await stream("hybrid:[a:thinks,a:good]"),
    "bad model string": await error(() => chat("a:good?temperature=3")),
    "wrong key": await error(() => stranger.models.list()),
    "unknown model": await error(() => chat("godo")),
    "bad request": await error(() => chat("refuses")),
    throttled: await error(() => chat("throttled")),
    down: await error(() => chat("down")),
    closed: await error(() => chat("closed")),
    "cut stream": await error(() => stream("cut")),
  }),
);
