import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createMemoryHistory, RouterProvider } from "@tanstack/react-router";
import { fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { setNetwork } from "../api/client";
import { hostile } from "../hostile";
import { en } from "../i18n/en";
import { WordsProvider } from "../i18n/i18n";
import { makeRouter } from "../routes";
import { theme } from "../theme";

type Answer = { status?: number; body?: unknown };
type Server = Record<string, Answer | ((request: Request) => Answer | Promise<Answer>)>;

const cluster = {
  clusters: [{ name: "test-cluster", brokers: ["broker-a"] }],
  brokers: [
    {
      brokerName: "broker-a",
      cluster: "test-cluster",
      brokerId: 0,
      role: "master",
      version: "0.1.0",
      writable: true,
      durability: "disk",
      commitLogMin: 0,
      commitLogMax: 4096,
      started: "2026-11-21T08:00:00Z",
    },
  ],
  totals: { brokers: 1, topics: 1, groups: 1 },
};
const topic = (name: string) => ({
  name,
  messageType: "normal",
  readQueues: 8,
  writeQueues: 8,
  perm: "readWrite",
  attributes: { "reserve.time": "24" },
  system: false,
});
const stats = { messages: 3, messagesIn: 3, messagesOut: 1, bytesIn: 30, bytesOut: 10, tpsIn: 1.5, tpsOut: 0.5 };
const group = (name: string, totalLag: number | null, delayMs: number | null) => ({
  name,
  consumeEnabled: true,
  orderly: false,
  broadcastEnabled: true,
  retryMaxTimes: 16,
  retryPolicy: { type: "customized", next: ["1s"] },
  retryQueues: 1,
  consumeTimeout: "15m",
  startFrom: "auto",
  totalLag,
  delayMs,
  inflight: 0,
  topics: ["orders"],
});
const message = (number: number, body: unknown, more: object = {}) => ({
  topic: "orders",
  messageType: "normal",
  messageId: `ID${number}`,
  offsetMessageId: `OFFSET${number}`,
  body,
  bodyEncoding: "text",
  bodySize: 10,
  bodyCrc32: 1,
  properties: {},
  bornTimestamp: "2026-11-21T08:00:00.000Z",
  bornHost: "127.0.0.1:1",
  storeTimestamp: "2026-11-21T08:00:00.000Z",
  storeHost: "127.0.0.1:2",
  brokerName: "broker-a",
  queueId: 0,
  queueOffset: number,
  ...more,
});
const notFound = (code: string): Answer => ({
  status: 404,
  body: {
    type: "",
    title: "Not found",
    status: 404,
    code,
    detail: "it is not there",
    retryable: false,
    outcome: "notApplied",
    requestId: "R-404",
  },
});

const usual: Server = {
  "GET /v1/cluster": { body: cluster },
  "GET /v1/brokers/broker-a/stats": { body: { brokerName: "broker-a", ...stats, parkedReceives: 2, uptime: "1m" } },
  "GET /v1/brokers/broker-a/storage": {
    body: {
      brokerName: "broker-a",
      commitLogMin: 0,
      commitLogMax: 4096,
      diskUsed: 50,
      diskTotal: 100,
      earliestMessageAt: null,
    },
  },
  "GET /v1/topics": { body: { items: [topic("orders")], nextCursor: null } },
  "GET /v1/topics/orders": { body: topic("orders") },
  "GET /v1/topics/orders/stats": { body: stats },
  "GET /v1/groups": { body: { items: [group("billing", 12, 65_000)], nextCursor: null } },
};

const sent: { method: string; path: string; body: string }[] = [];

function serve(server: Server) {
  const all = { ...usual, ...server };
  setNetwork(async (request) => {
    const url = new URL(request.url);
    const path = decodeURIComponent(url.pathname);
    if (request.method !== "GET")
      sent.push({ method: request.method, path: path + url.search, body: await request.clone().text() });
    const found =
      all[`${request.method} ${path}${url.search}`] ?? all[`${request.method} ${path}`] ?? notFound("not_found");
    const { status = 200, body } = typeof found === "function" ? await found(request) : found;
    const text = body === undefined ? null : JSON.stringify(body);
    return new Response(text, { status, headers: { "content-type": "application/json" } });
  });
}

function open(address: string) {
  const history = createMemoryHistory({ initialEntries: [address] });
  const router = makeRouter(history);
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  render(
    <QueryClientProvider client={queries}>
      <WordsProvider>
        <MantineProvider theme={theme} env="test">
          <RouterProvider router={router} />
        </MantineProvider>
      </WordsProvider>
    </QueryClientProvider>,
  );
  return { router, history };
}

beforeEach(() => {
  sent.length = 0;
});
afterEach(() => setNetwork(fetch));

describe("the overview", () => {
  test("says that all is well, with figures", async () => {
    serve({});
    open("/");
    expect(await screen.findByText(en.overview.well)).toBeTruthy();
    expect(await screen.findByText("1.5")).toBeTruthy();
    expect((await screen.findAllByRole("link", { name: "billing" })).length).toBe(1);
  });

  test("names what is wrong", async () => {
    const broken = { ...cluster, brokers: [{ ...cluster.brokers[0], writable: false }] };
    serve({ "GET /v1/cluster": { body: broken } });
    open("/");
    expect(await screen.findByText(en.overview.down)).toBeTruthy();
    expect(await screen.findByText(en.overview.readOnly("broker-a"))).toBeTruthy();
  });

  test("does not make zeroes out of what it does not know", async () => {
    serve({ "GET /v1/brokers/broker-a/stats": notFound("not_found") });
    open("/");
    await screen.findByText(en.overview.well);
    await waitFor(() => expect(screen.getAllByTitle(en.state.noStats).length).toBeGreaterThan(1));
  });

  test("of an empty broker is the welcome", async () => {
    serve({
      "GET /v1/cluster": { body: { ...cluster, totals: { brokers: 1, topics: 0, groups: 0 } } },
      "GET /v1/topics": { body: { items: [], nextCursor: null } },
    });
    open("/");
    expect(await screen.findByRole("heading", { name: en.welcome.title })).toBeTruthy();
    const name = await screen.findByLabelText<HTMLInputElement>(en.topic.name);
    expect(name.value).toBe("orders");
  });
});

describe("a list", () => {
  test("that is empty says what belongs there", async () => {
    serve({ "GET /v1/topics": { body: { items: [], nextCursor: null } } });
    open("/topics");
    expect(await screen.findByText(en.topic.none)).toBeTruthy();
    expect(screen.getByText(en.topic.what)).toBeTruthy();
  });

  test("that is filtered to nothing offers to clear the filter", async () => {
    serve({});
    const { router } = open("/topics?q=nothing-like-it");
    fireEvent.click(await screen.findByRole("button", { name: en.action.clearFilters }));
    expect(await screen.findByRole("link", { name: "orders" })).toBeTruthy();
    expect(router.state.location.search).toEqual({});
  });

  test("that failed says why, and under which request", async () => {
    serve({ "GET /v1/topics": { status: 500, body: { ...(notFound("internal").body as object), status: 500 } } });
    open("/topics");
    const alert = await screen.findByRole("alert");
    expect(within(alert).getByText("R-404")).toBeTruthy();
    serve({});
    fireEvent.click(within(alert).getByRole("button", { name: en.action.retry }));
    expect(await screen.findByRole("link", { name: "orders" })).toBeTruthy();
  });

  test("keeps its old rows when a refresh fails, and says so", async () => {
    serve({});
    open("/topics");
    await screen.findByRole("link", { name: "orders" });
    serve({ "GET /v1/topics": notFound("not_found") });
    fireEvent.click(screen.getByRole("button", { name: en.refresh.now }));
    expect(await screen.findByText(en.state.stale, { exact: false })).toBeTruthy();
    expect(screen.getByRole("link", { name: "orders" })).toBeTruthy();
  });

  test("of hostile names shows them as text", async () => {
    serve({ "GET /v1/topics": { body: { items: hostile.map(topic), nextCursor: null } } });
    open("/topics");
    await screen.findByRole("link", { name: "50%" });
    const links = screen.getAllByRole("link");
    for (const name of hostile) {
      expect(
        links.some(({ textContent }) => textContent === name),
        name,
      ).toBe(true);
    }
    expect(document.querySelector("main img, main script")).toBeNull();
  });

  test("of groups tells unknown lag from none", async () => {
    const items = [
      group("known", 12, 65_000),
      group("idle", 0, null),
      { ...group("foreign", null, null), totalLag: undefined, delayMs: undefined },
    ];
    serve({ "GET /v1/groups": { body: { items, nextCursor: null } } });
    open("/groups");
    expect(await screen.findByText("1 min 5 s")).toBeTruthy();
    expect(screen.getByText(en.group.caughtUp)).toBeTruthy();
    expect(screen.getAllByTitle(en.group.lagUnknown)).toHaveLength(2);
  });
});

describe("a deletion", () => {
  const plan = { topic: "orders", messages: 1234, groups: [{ name: "billing", lag: 12, inflight: 0, delayMs: 1 }] };

  test("shows what it takes along, and waits for the typed name", async () => {
    let gone = false;
    serve({
      "DELETE /v1/topics/orders?dryRun=true": { body: plan },
      "DELETE /v1/topics/orders": () => {
        gone = true;
        return { status: 204 };
      },
    });
    open("/topics?delete=orders");
    const dialog = await screen.findByRole("dialog");
    expect(await within(dialog).findByText("1,234")).toBeTruthy();
    expect(within(dialog).getByRole("link", { name: "billing" })).toBeTruthy();
    const button = within(dialog).getByRole<HTMLButtonElement>("button", { name: en.topic.delete });
    expect(button.disabled).toBe(true);
    const field = within(dialog).getByLabelText(en.confirm.typeName("orders"));
    fireEvent.change(field, { target: { value: "order" } });
    expect(button.disabled).toBe(true);
    fireEvent.change(field, { target: { value: "orders" } });
    fireEvent.keyDown(field, { key: "Enter" });
    expect(gone).toBe(false);
    fireEvent.click(button);
    await waitFor(() => expect(gone).toBe(true));
  });

  test("cannot be confirmed before its effect is known", async () => {
    serve({
      "DELETE /v1/topics/orders?dryRun=true": {
        status: 503,
        body: { ...(notFound("overloaded").body as object), status: 503 },
      },
    });
    open("/topics?delete=orders");
    const dialog = await screen.findByRole("dialog");
    fireEvent.change(within(dialog).getByLabelText(en.confirm.typeName("orders")), { target: { value: "orders" } });
    await within(dialog).findByRole("alert");
    expect(within(dialog).getByRole<HTMLButtonElement>("button", { name: en.topic.delete }).disabled).toBe(true);
  });
});

describe("the message browser", () => {
  const page = (items: object[], complete: boolean, nextCursor: string | null) => ({
    body: { items, nextCursor, scan: { scanned: items.length, complete, from: null, to: null } },
  });

  test("shows messages as text, and goes on where the scan stopped", async () => {
    const first = [message(1, "<img src=x onerror=alert(1)>", { tag: "<b>x</b>" })];
    serve({
      "GET /v1/topics/orders/messages?order=desc&limit=50": page(first, false, "next"),
      "GET /v1/topics/orders/messages?order=desc&limit=50&cursor=next": page([message(0, "the oldest")], true, null),
    });
    open("/topics/orders");
    expect(await screen.findByText("<img src=x onerror=alert(1)>")).toBeTruthy();
    expect(screen.getByText("<b>x</b>")).toBeTruthy();
    fireEvent.click(screen.getByRole("button", { name: en.browse.older }));
    expect(await screen.findByText("the oldest")).toBeTruthy();
    expect(screen.getByText(en.browse.allOlder("2"))).toBeTruthy();
    expect(document.querySelector("main img")).toBeNull();
  });

  test("names the likely cause of finding nothing", async () => {
    serve({ "GET /v1/topics/orders/messages": page([], true, null) });
    open("/topics/orders?tag=Paid");
    expect(await screen.findByText(en.browse.noneTagged("Paid"))).toBeTruthy();
  });

  test("of an empty topic offers to send", async () => {
    serve({ "GET /v1/topics/orders/messages": page([], true, null) });
    const { router } = open("/topics/orders");
    await screen.findByText(en.browse.none);
    const buttons = screen.getAllByRole("button", { name: en.send.title });
    fireEvent.click(buttons.at(-1) as HTMLElement);
    await waitFor(() => expect(router.state.location.pathname).toBe("/topics/orders/send"));
  });
});

test("a message is sent as it was written, and the result leads to it", async () => {
  serve({
    "GET /v1/topics/orders/messages": { body: { items: [], nextCursor: null, scan: { scanned: 0, complete: true } } },
    "POST /v1/topics/orders/messages": {
      status: 201,
      body: {
        messageId: "NEW",
        offsetMessageId: "O",
        brokerName: "broker-a",
        queueId: 2,
        queueOffset: 7,
        storeTimestamp: "2026-11-21T08:00:00Z",
      },
    },
  });
  open("/topics/orders/send");
  const dialog = await screen.findByRole("dialog");
  fireEvent.change(await within(dialog).findByLabelText(en.message.body), { target: { value: '{"a":1}' } });
  expect(within(dialog).getByText(en.send.jsonGood)).toBeTruthy();
  fireEvent.change(within(dialog).getByLabelText(en.browse.tag), { target: { value: "标签" } });
  fireEvent.click(within(dialog).getByRole("button", { name: en.send.count(1) }));
  const link = await within(dialog).findByRole("link", { name: "NEW" });
  expect(link.getAttribute("href")).toBe("/topics/orders/messages/NEW");
  expect(sent.map(({ method, path }) => `${method} ${path}`)).toEqual(["POST /v1/topics/orders/messages"]);
  expect(JSON.parse(sent[0]?.body ?? "")).toEqual({ body: '{"a":1}', tag: "标签" });
});

describe("one message", () => {
  const id = "GET /v1/topics/orders/messages/ID1";
  const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const stored = (text: string) => ({ body: message(1, base64(text), { bodyEncoding: "base64" }) });

  test("that is JSON becomes a tree of text", async () => {
    serve({ [id]: stored('{"name":"<img src=x>","n":1}') });
    open("/topics/orders/messages/ID1");
    expect(await screen.findByText('"<img src=x>"')).toBeTruthy();
    expect(document.querySelector("main img")).toBeNull();
  });

  test("that is no text shows its bytes", async () => {
    serve({ [id]: { body: message(1, "/wA=", { bodyEncoding: "base64" }) } });
    open("/topics/orders/messages/ID1");
    expect(await screen.findByText(/^ff 00/)).toBeTruthy();
  });

  test("that is long says how much of it is shown", async () => {
    serve({ [id]: stored("x".repeat(100_000)) });
    open("/topics/orders/messages/ID1");
    expect(await screen.findByText(en.message.cut("64 KiB", "97.7 KiB"), { exact: false })).toBeTruthy();
    fireEvent.click(screen.getByRole("button", { name: en.message.loadAll }));
    expect(await screen.findByText("x".repeat(100_000))).toBeTruthy();
  });

  test("that is not there says why it may be", async () => {
    serve({ [id]: notFound("message_not_found") });
    open("/topics/orders/messages/ID1");
    expect(await screen.findByRole("heading", { name: en.message.missing })).toBeTruthy();
  });
});

test.each(["/nothing", "/topics/a/b/c/d", "/access/users"])("%s is no page, and not the overview", async (address) => {
  serve({});
  open(address);
  expect(await screen.findByRole("heading", { name: en.notFound.title })).toBeTruthy();
});

test("an old bookmark opens the new page", async () => {
  serve({});
  const { router } = open("/#/consumer");
  await waitFor(() => expect(router.state.location.pathname).toBe("/groups"));
});
