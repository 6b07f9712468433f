// The AI SDK with its providers for OpenAI (responses), Anthropic and what is alike. See tests/clients/libraries.py.
import { createRequire } from "node:module";

const [folder, dialect, baseURL, apiKey, model, mode, prompt] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { generateText, streamText, stepCountIs, tool } = require("ai");
const { z } = require("zod");
// Else it sends IDs of items in place of them, and nothing is kept here.
const providerOptions = { openai: { store: false } };
const shown = { text: "", ended: "", shouted: [], error: null };

const made = {
  responses: () => require("@ai-sdk/openai").createOpenAI({ baseURL, apiKey })(model),
  chat: () => require("@ai-sdk/openai-compatible").createOpenAICompatible({ name: "tokenline", baseURL, apiKey })(model),
  messages: () => require("@ai-sdk/anthropic").createAnthropic({ baseURL, apiKey })(model),
};
const shout = tool({
  description: "Writes a text in capitals.",
  inputSchema: z.object({ text: z.string() }),
  execute: async ({ text }) => {
    shown.shouted.push(text);
    return text.toUpperCase();
  },
});

function failed(error) {
  const cause = error.lastError ?? error;
  shown.error = { type: cause.constructor.name, status: cause.statusCode ?? null, message: cause.message };
}

try {
  if (mode === "stream") {
    const result = streamText({ model: made[dialect](), prompt, providerOptions, onError: ({ error }) => failed(error) });
    for await (const text of result.textStream) shown.text += text;
    if (!shown.error) shown.ended = await result.finishReason;
  } else {
    const result = await generateText({ model: made[dialect](), prompt, providerOptions, tools: { shout }, stopWhen: stepCountIs(5) });
    shown.text = result.text;
    shown.ended = result.finishReason;
  }
} catch (error) {
  failed(error);
}
console.log(JSON.stringify(shown));
