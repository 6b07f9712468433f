// The official SDKs for Node with a loop over tools. See tests/clients/libraries.py for arguments and output.
import { createRequire } from "node:module";

const [folder, dialect, baseURL, apiKey, model, mode, prompt] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const shown = { text: "", ended: "", shouted: [], error: null };
const parameters = { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false };
const name = "shout";
const description = "Writes a text in capitals.";

function shout({ text }) {
  shown.shouted.push(text);
  return text.toUpperCase();
}

async function chat() {
  const { default: OpenAI } = require("openai");
  const client = new OpenAI({ baseURL, apiKey });
  const messages = [{ role: "user", content: prompt }];
  if (mode === "stream") {
    for await (const { choices } of await client.chat.completions.create({ model, messages, stream: true })) {
      for (const { delta, finish_reason } of choices) {
        shown.text += delta.content ?? "";
        shown.ended = finish_reason ?? shown.ended;
      }
    }
    return;
  }
  const tools = [{ type: "function", function: { name, description, parameters } }];
  for (;;) {
    const [{ message, finish_reason }] = (await client.chat.completions.create({ model, messages, tools })).choices;
    shown.ended = finish_reason;
    if (!message.tool_calls?.length) {
      shown.text = message.content ?? "";
      return;
    }
    messages.push(message);
    for (const call of message.tool_calls) {
      messages.push({ role: "tool", tool_call_id: call.id, content: shout(JSON.parse(call.function.arguments)) });
    }
  }
}

async function responses() {
  const { default: OpenAI } = require("openai");
  const client = new OpenAI({ baseURL, apiKey });
  const input = [{ role: "user", content: prompt }];
  if (mode === "stream") {
    for await (const event of await client.responses.create({ model, input, stream: true })) {
      if (event.type === "response.output_text.delta") shown.text += event.delta;
      if (/^response\.(completed|incomplete|failed)$/.test(event.type)) shown.ended = event.response.status;
    }
    return;
  }
  const tools = [{ type: "function", name, description, parameters, strict: false }];
  for (;;) {
    const response = await client.responses.create({ model, input, tools });
    shown.ended = response.status;
    const calls = response.output.filter(({ type }) => type === "function_call");
    if (!calls.length) {
      shown.text = response.output_text;
      return;
    }
    input.push(...response.output);
    for (const { call_id, arguments: said } of calls) {
      input.push({ type: "function_call_output", call_id, output: shout(JSON.parse(said)) });
    }
  }
}

async function messages() {
  const { default: Anthropic } = require("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL, apiKey });
  const said = [{ role: "user", content: prompt }];
  const max_tokens = 4000;
  if (mode === "stream") {
    const stream = client.messages.stream({ model, messages: said, max_tokens });
    stream.on("text", (text) => (shown.text += text));
    shown.ended = (await stream.finalMessage()).stop_reason;
    return;
  }
  const tools = [{ name, description, input_schema: parameters }];
  for (;;) {
    const message = await client.messages.create({ model, messages: said, max_tokens, tools });
    shown.ended = message.stop_reason;
    const calls = message.content.filter(({ type }) => type === "tool_use");
    if (!calls.length) {
      shown.text = message.content.map(({ text }) => text ?? "").join("");
      return;
    }
    const content = calls.map(({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: shout(input) }));
    said.push({ role: "assistant", content: message.content }, { role: "user", content });
  }
}

try {
  await { chat, responses, messages }[dialect]();
} catch (error) {
  shown.error = { type: error.constructor.name, status: error.status ?? null, message: error.message };
}
console.log(JSON.stringify(shown));
