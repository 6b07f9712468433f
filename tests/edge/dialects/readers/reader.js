// Reads bodies of chat completions as a vendor in JavaScript does, and writes what it has read.
const bodies = JSON.parse(require("fs").readFileSync(0, "utf8"));

function read(body) {
  let each;
  try {
    each = JSON.parse(body);
  } catch {
    return null;
  }
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

console.log(JSON.stringify(bodies.map(read)));
