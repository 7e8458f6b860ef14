// Clients of the official JavaScript SDK: one line for each result. Arguments: v1, v1-stdio, v2 or v2-auto, v2-stdio;
// then a URL, or the server's command.
const [kind, ...target] = process.argv.slice(2);
const show = (what, value) => console.log(JSON.stringify([what, value]));
const attempt = async (what, call) => {
  try {
    const { _meta, ...result } = await call();
    show(what, result);
  } catch (error) {
    show(what, [error.name, error.code, error.message]);
  }
};
const info = { name: "testkit-client", version: "3.2.1" };
let client, transport;
if (kind.startsWith("v1")) {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  client = new Client(info);
  if (kind === "v1-stdio") {
    const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
    transport = new StdioClientTransport({ command: target[0], args: target.slice(1) });
  } else {
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    transport = new StreamableHTTPClientTransport(new URL(target[0]));
  }
} else {
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  client = new Client(info, kind === "v2" ? { versionNegotiation: { mode: { pin: "2026-07-28" } } } : { versionNegotiation: { mode: "auto" } });
  if (kind === "v2-stdio") {
    const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
    transport = new StdioClientTransport({ command: target[0], args: target.slice(1) });
  } else transport = new StreamableHTTPClientTransport(new URL(target[0]));
}
await client.connect(transport);
await attempt("tools", () => client.listTools());
await attempt("add", () => client.callTool({ name: "add", arguments: { a: 1, b: 2 } }));
await attempt("echo", () => client.callTool({ name: "echo", arguments: { text: "plain é 😀" } }));
await attempt("fail", () => client.callTool({ name: "fail", arguments: { text: "x" } }));
await attempt("unknown", () => client.callTool({ name: "no-such-tool", arguments: {} }));
await attempt("read", () => client.readResource({ uri: "memo://notes/one" }));
await attempt("greet", () => client.getPrompt({ name: "greet", arguments: { who: "you" } }));
for (let i = 0; i < 10; i++) await attempt("many", () => client.callTool({ name: "add", arguments: { a: i, b: i } }));
await client.close();
process.exit(0);
