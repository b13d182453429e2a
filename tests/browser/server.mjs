// A real server on free ports with a data directory of its own, and its API without a browser.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

export const repository = resolve(import.meta.dirname, "../..");
const program = process.env.GANTRY_BIN ?? join(repository, "target/debug/gantry");

export async function startServer() {
  if (!existsSync(program)) throw new Error(`${program} is missing: cargo build -p gantry-gateway, or set GANTRY_BIN`);
  const dir = mkdtempSync(join(tmpdir(), "gantry-browser-"));
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("GANTRY_"));
  const args = ["--data-dir", join(dir, "data"), "--segment-size", "64MiB"];
  const child = spawn(program, [...args, "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"], {
    cwd: dir,
    env: Object.fromEntries(own),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (text) => {
    log += text;
  });
  const ended = new Promise((done) => child.once("exit", done));
  const ready = new Promise((done) => createInterface(child.stdout).once("line", done));
  const line = await Promise.race([ready, ended.then((code) => Promise.reject(new Error(`no start (${code}):\n${log}`)))]);
  const address = /^gantry ready http=(\S+) /.exec(line)?.[1];
  if (address === undefined) throw new Error(`not the ready line: ${line}`);
  return new Server(`http://${address}`, async () => {
    child.kill();
    await ended;
    rmSync(dir, { recursive: true, force: true });
  });
}

class Server {
  constructor(url, stop) {
    this.url = url;
    this.stop = stop;
  }

  /** Fails unless the answer is a success. */
  async ask(method, path, { headers = {}, json, body } = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: json === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: json === undefined ? body : JSON.stringify(json),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  createTopic(name, settings = {}) {
    return this.ask("PUT", `/v1/topics/${encodeURIComponent(name)}`, { json: settings });
  }

  send(topic, body, headers = {}) {
    return this.ask("POST", `/v1/topics/${encodeURIComponent(topic)}/messages`, { headers, body });
  }

  /** A half message that waits to be decided. */
  begin(topic, body, checkAfter = "1h") {
    const headers = { "Content-Type": "text/plain", "Gantry-Producer-Group": "shop", "Gantry-Check-After": checkAfter };
    return this.ask("POST", `/v1/topics/${encodeURIComponent(topic)}/transactions`, { headers, body });
  }

  async receive(group, topic, maxMessages = 1) {
    const { messages } = await this.ask("POST", `/v1/groups/${encodeURIComponent(group)}/receive`, {
      json: { topic, maxMessages, invisibleDuration: "5m" },
    });
    return messages;
  }

  /** Given back at once: the next delivery is another attempt. */
  nack({ receiptHandle }, retryAfter = "0s") {
    return this.ask("POST", `/v1/receipts/${receiptHandle}/nack`, { json: { retryAfter } });
  }

  giveUp({ receiptHandle }, reason) {
    return this.ask("POST", `/v1/receipts/${receiptHandle}/dead-letter`, { json: { reason } });
  }

  ack({ receiptHandle }) {
    return this.ask("DELETE", `/v1/receipts/${receiptHandle}`);
  }

  async messages(topic) {
    const found = [];
    const { items } = await this.ask("GET", `/v1/topics/${encodeURIComponent(topic)}/queues`);
    for (const { brokerName, queueId } of items) {
      const path = `/v1/topics/${encodeURIComponent(topic)}/queues/${brokerName}/${queueId}/messages`;
      found.push(...(await this.ask("GET", `${path}?offset=0&limit=32`)).items);
    }
    return found;
  }
}

/** A broker as it looks after an hour of use: something in every list, a group that is behind, one that is not. */
export async function fill(server) {
  for (const name of ["orders", "payments", "invoices-2026", "empty", "50|off"]) await server.createTopic(name);
  let first;
  for (let number = 0; number < 60; number += 1) {
    const order = { order: number, customer: `c-${number % 7}`, total: 10 + number / 4, lines: [{ sku: "A-1", count: 2 }] };
    const headers = { "Content-Type": "application/json", "Gantry-Tag": number % 3 ? "paid" : "open", "Gantry-Keys": `o-${number}` };
    const sent = await server.send("orders", JSON.stringify(order), headers);
    first ??= sent;
  }
  for (const words of ["plain words", "第二条消息：你好", "third"]) {
    await server.send("payments", words, { "Content-Type": "text/plain; charset=utf-8" });
  }
  await server.send("50|off", Uint8Array.from({ length: 512 }, (_, at) => at % 256));
  for (const message of await server.receive("billing", "orders", 20)) await server.ack(message);
  const held = await server.receive("billing", "orders", 5);
  await server.nack(held[0]);
  await server.receive("billing", "orders", 1);
  await server.giveUp(held[1], "no such customer");
  await server.createTopic("ledger", { messageType: "fifo", readQueues: 2 });
  for (const [group, amount] of [["acct-7", "+5"], ["acct-7", "-3"], ["acct-9", "+1"]]) {
    await server.send("ledger", amount, { "Content-Type": "text/plain", "Gantry-Message-Group": group });
  }
  await server.receive("billing", "ledger", 3);
  await server.createTopic("reminders", { messageType: "delay" });
  await server.createTopic("anything", { messageType: "mixed" });
  await server.send("reminders", "wake up", { "Content-Type": "text/plain", "Gantry-Delay": "12h" });
  await server.createTopic("transfers", { messageType: "transaction" });
  for (const body of ["acct-7 -> acct-9: 40.00", "acct-3 -> acct-7: 12.50"]) await server.begin("transfers", body);
  for (const message of await server.receive("shipping", "payments", 10)) await server.ack(message);
  return first;
}
