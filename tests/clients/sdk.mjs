// Calls with the official SDKs: node sdk.mjs FOLDER openai|embeddings|anthropic BASE_URL API_KEY MODEL. Prints a line of JSON.
import { createRequire } from "node:module";

const [folder, vendor, baseURL, apiKey, model] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const messages = [{ role: "user", content: "say hi" }];
const shown = { whole: null, streamed: null, usage: [], error: null };

async function openai() {
  const { default: OpenAI } = require("openai");
  const client = new OpenAI({ baseURL, apiKey });
  const whole = await client.chat.completions.create({ model, messages });
  shown.whole = whole.choices[0].message.content;
  shown.usage.push([whole.usage.prompt_tokens, whole.usage.completion_tokens]);
  shown.streamed = "";
  const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    shown.streamed += chunk.choices[0]?.delta.content ?? "";
    if (chunk.usage) shown.usage.push([chunk.usage.prompt_tokens, chunk.usage.completion_tokens]);
  }
}

async function embeddings() {
  const { default: OpenAI } = require("openai");
  const client = new OpenAI({ baseURL, apiKey });
  const made = await client.embeddings.create({ model, input: ["say hi", "say ho"] });
  shown.whole = made.data.map(({ embedding }) => [embedding.length, Math.hypot(...embedding)]);
  shown.usage.push([made.usage.prompt_tokens, 0]);
}

async function anthropic() {
  const { default: Anthropic } = require("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL, apiKey });
  const whole = await client.messages.create({ model, messages, max_tokens: 100 });
  shown.whole = whole.content[0].text;
  const final = await client.messages.stream({ model, messages, max_tokens: 100 }).finalMessage();
  shown.streamed = final.content[0].text;
  for (const { usage } of [whole, final]) shown.usage.push([usage.input_tokens, usage.output_tokens]);
}

try {
  await { openai, embeddings, anthropic }[vendor]();
} catch (error) {
  shown.error = { status: error.status, message: error.message };
}
console.log(JSON.stringify(shown));
