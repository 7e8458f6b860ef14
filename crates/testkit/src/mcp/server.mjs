// MCP servers of the official JavaScript SDK. Arguments: transport (v1, v1-json, v1-stdio, v2, v2-stdio), port, log.
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { z } from "zod";

const [transport, port, log] = process.argv.slice(2);
const note = (kind, name) => appendFileSync(log, JSON.stringify([kind, name]) + "\n");
const text = (value) => ({ content: [{ type: "text", text: String(value) }] });

function fill(server, ResourceTemplate, shape) {
  server.registerTool("add", { description: "Adds.", inputSchema: shape({ a: z.number(), b: z.number() }) },
    async ({ a, b }) => (note("tool", "add"), text(a + b)));
  server.registerTool("echo", { description: "Says it again.", inputSchema: shape({ text: z.string() }) },
    async (args) => (note("tool", "echo"), text(args.text)));
  server.registerTool("fail", { description: "Always fails.", inputSchema: shape({ text: z.string() }) },
    async (args) => (note("tool", "fail"), { ...text("it failed: " + args.text), isError: true }));
  server.registerResource("memo", new ResourceTemplate("memo://notes/{name}", { list: undefined }), {},
    async (uri, { name }) => (note("resource", name), { contents: [{ uri: uri.href, text: "note " + name }] }));
  server.registerPrompt("greet", { argsSchema: shape({ who: z.string() }) },
    ({ who }) => (note("prompt", "greet"),
      { messages: [{ role: "user", content: { type: "text", text: "hello " + who } }] }));
  return server;
}

async function v1() {
  const { McpServer, ResourceTemplate } = await import("@modelcontextprotocol/sdk/server/mcp.js");
  return fill(new McpServer({ name: "testkit-js", version: "1.2.3" }), ResourceTemplate, (shape) => shape);
}

async function v2() {
  const { McpServer, ResourceTemplate } = await import("@modelcontextprotocol/server");
  return fill(new McpServer({ name: "testkit-js", version: "2.3.4" }), ResourceTemplate, (shape) => z.object(shape));
}

if (transport === "v1-stdio") {
  const { StdioServerTransport } = await import("@modelcontextprotocol/sdk/server/stdio.js");
  await (await v1()).connect(new StdioServerTransport());
} else if (transport === "v2-stdio") {
  const { serveStdio } = await import("@modelcontextprotocol/server/stdio");
  serveStdio(v2);
} else if (transport === "v2") {
  const { createMcpHandler } = await import("@modelcontextprotocol/server");
  const { toNodeHandler } = await import("@modelcontextprotocol/node");
  createServer(toNodeHandler(createMcpHandler(v2))).listen(Number(port), "127.0.0.1");
} else {
  const { StreamableHTTPServerTransport } = await import("@modelcontextprotocol/sdk/server/streamableHttp.js");
  const sessions = new Map();
  createServer(async (request, response) => {
    let session = sessions.get(request.headers["mcp-session-id"]);
    if (!session) {
      session = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        enableJsonResponse: transport === "v1-json",
        onsessioninitialized: (id) => sessions.set(id, session),
      });
      await (await v1()).connect(session);
    }
    await session.handleRequest(request, response);
  }).listen(Number(port), "127.0.0.1");
}
