import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { setNetwork } from "./client";
import { asProblem, isUnsupported, Problem } from "./problem";
import * as api from "./resources";

let asked: Request[];
let answers: (() => Response | Promise<Response>)[];

const json =
  (body: unknown, status = 200) =>
  () =>
    new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });

beforeEach(() => {
  asked = [];
  answers = [];
  setNetwork(async (request) => {
    asked.push(request);
    const answer = answers.shift();
    if (answer === undefined) throw new TypeError("the network is gone");
    return answer();
  });
});
afterEach(() => setNetwork(fetch));

const refused = (call: Promise<unknown>) =>
  call.then(
    () => expect.unreachable("the call must be refused"),
    (error: unknown) => error as Problem,
  );

describe("a refusal", () => {
  const document = {
    type: "urn:gantry:error:invalid_tag",
    title: "Invalid tag",
    status: 400,
    code: "invalid_tag",
    detail: "the tag is blank",
    retryable: false,
    outcome: "notApplied",
    rocketmqCode: 40004,
    requestId: "R1",
    errors: [{ pointer: "/messages/1/tag", code: "invalid_tag", detail: "the tag is blank" }],
  };

  test("keeps what the problem document says, field by field", async () => {
    answers.push(json(document, 400));
    const problem = await refused(api.sendMessage("orders", { body: "x", tag: " " }));
    expect(problem).toBeInstanceOf(Problem);
    expect(problem).toMatchObject({
      title: "Invalid tag",
      message: "the tag is blank",
      code: "invalid_tag",
      requestId: "R1",
    });
    expect(problem.field("tag")).toBe("the tag is blank");
    expect(problem.field("body")).toBeUndefined();
  });

  test("by something that is not Gantry is told apart", async () => {
    answers.push(() => new Response("<html>Bad Gateway</html>", { status: 502 }));
    expect(await refused(api.readCluster())).toMatchObject({
      status: 502,
      code: "not_a_problem_document",
      retryable: true,
    });
  });

  test("without any answer says so", async () => {
    const problem = await refused(api.readCluster());
    expect(problem).toMatchObject({ status: 0, code: "unreachable" });
    expect(asProblem(problem)).toBe(problem);
  });

  test("of an endpoint is not the lack of a topic", async () => {
    answers.push(
      json({ ...document, status: 404, code: "not_found" }, 404),
      json({ ...document, status: 404, code: "topic_not_found" }, 404),
    );
    expect(isUnsupported(await refused(api.readTopicStats("orders")))).toBe(true);
    expect(isUnsupported(await refused(api.readTopicStats("orders")))).toBe(false);
  });
});

describe("lists", () => {
  test("are followed page by page to their end", async () => {
    answers.push(
      json({ items: [{ name: "a" }], nextCursor: "c1" }),
      json({ items: [{ name: "b" }], nextCursor: null }),
    );
    const { items, complete } = await api.listTopics(false);
    expect(items.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(complete).toBe(true);
    expect(asked.map(({ url }) => new URL(url).searchParams.get("cursor"))).toEqual([null, "c1"]);
  });

  test("stop at a bound, and say that there is more", async () => {
    const page = { items: Array.from({ length: 500 }, (_, index) => ({ name: `t${index}` })), nextCursor: "more" };
    for (let count = 0; count < 40; count += 1) answers.push(json(page));
    const { items, complete } = await api.listTopics(false);
    expect(items).toHaveLength(api.rowsMax);
    expect(complete).toBe(false);
  });
});

test("a message goes out as an envelope, its name in one segment", async () => {
  answers.push(json({ messageId: "M" }, 201));
  await api.sendMessage("%RETRY%a|b", { body: "你好", tag: "标签" });
  const [request] = asked;
  expect(new URL(request?.url ?? "").pathname).toBe("/v1/topics/%25RETRY%25a%7Cb/messages");
  expect(request?.headers.get("content-type")).toBe("application/vnd.gantry.message+json");
  expect(await request?.json()).toEqual({ body: "你好", tag: "标签" });
});

test("creating never changes what is there", async () => {
  answers.push(json({}, 201), json({}, 201));
  await api.createTopic("orders", { messageType: "normal", readQueues: 8, writeQueues: 8 });
  await api.createGroup("billing", { retryMaxTimes: 16, startFrom: "min" });
  expect(asked.map(({ headers }) => headers.get("if-none-match"))).toEqual(["*", "*"]);
});
