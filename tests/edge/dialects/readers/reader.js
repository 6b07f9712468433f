// Reads bodies as a vendor in JavaScript does that speaks the dialect of its argument, and writes what it has read.
const bodies = JSON.parse(require("fs").readFileSync(0, "utf8"));
const read = {
  openai_chat: chatCompletion,
  anthropic_messages: messages,
  openai_responses: response,
  openai_completions: prompted,
  openai_embeddings: prompted,
}[process.argv[2]];

function chatCompletion(each) {
  const messages = Array.isArray(each.messages) ? each.messages : [];
  return {
    model: each.model ?? "",
    n: each.n ?? 0,
    max_tokens: each.max_tokens ?? 0,
    max_completion_tokens: each.max_completion_tokens ?? 0,
    stream: each.stream ?? false,
    stream_options: { include_usage: each.stream_options?.include_usage ?? false },
    messages: messages.map((message) => ({ role: message?.role ?? "", content: message?.content ?? null })),
  };
}

// A request of completions or of embeddings.
function prompted(each) {
  return {
    model: each.model ?? "",
    n: each.n ?? 0,
    best_of: each.best_of ?? 0,
    max_tokens: each.max_tokens ?? 0,
    max_completion_tokens: each.max_completion_tokens ?? 0,
    dimensions: each.dimensions ?? 0,
    echo: each.echo ?? false,
    stream: each.stream ?? false,
    stream_options: { include_usage: each.stream_options?.include_usage ?? false },
    suffix: each.suffix ?? "",
    prompt: each.prompt ?? null,
    input: each.input ?? null,
  };
}

// A text, or a list of blocks.
function blocks(content) {
  if (typeof content === "string") {
    return [{ type: "text", text: content, content: null }];
  }
  if (!Array.isArray(content)) {
    return null;
  }
  return content.map((block) => ({ type: block?.type ?? "", text: block?.text ?? "", content: blocks(block?.content) }));
}

function messages(each) {
  const turns = Array.isArray(each.messages) ? each.messages : [];
  return {
    model: each.model ?? "",
    max_tokens: each.max_tokens ?? 0,
    stream: each.stream ?? false,
    thinking: { type: each.thinking?.type ?? "", budget_tokens: each.thinking?.budget_tokens ?? 0 },
    system: blocks(each.system),
    messages: turns.map((turn) => ({ role: turn?.role ?? "", content: blocks(turn?.content) })),
  };
}

// A text, or a list of items or parts.
function items(content) {
  if (typeof content === "string") {
    return [{ type: "text", role: "", text: content, content: null, output: null }];
  }
  if (!Array.isArray(content)) {
    return null;
  }
  return content.map((item) => ({
    type: item?.type ?? "",
    role: item?.role ?? "",
    text: item?.text ?? "",
    content: items(item?.content),
    output: items(item?.output),
  }));
}

function response(each) {
  return {
    model: each.model ?? "",
    max_output_tokens: each.max_output_tokens ?? 0,
    stream: each.stream ?? false,
    store: each.store ?? false,
    background: each.background ?? false,
    previous_response_id: each.previous_response_id ?? "",
    instructions: each.instructions ?? "",
    input: items(each.input),
  };
}

function readOrNull(body) {
  try {
    return read(JSON.parse(body));
  } catch {
    return null;
  }
}

console.log(JSON.stringify(bodies.map(readOrNull)));
