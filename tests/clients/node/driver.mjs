// Does with RocketMQ's official Node client what it is told, a JSON object a line, and tells what it saw: it judges nothing.
import { createInterface } from 'node:readline';
import { ConsumeResult, FilterExpression, Producer, PushConsumer, SimpleConsumer } from 'rocketmq-client-nodejs';
import v2 from 'rocketmq-client-nodejs/proto/apache/rocketmq/v2/definition_pb.js';

const at = JSON.parse(process.argv[2]);
const sessionCredentials = at.accessKey && { accessKey: at.accessKey, accessSecret: at.accessSecret };
const config = { endpoints: at.endpoints, namespace: '', sslEnabled: at.tls ?? false, sessionCredentials };
const running = [];
const received = new Map();
const tries = new Map();
let producer;
let consumer;

const say = (saw, what = {}) => process.stdout.write(`${JSON.stringify({ saw, ...what })}\n`);
const refusal = (error) => ({ code: error.code ?? null, error: `${error.name}: ${error.message}` });

async function started(client) {
  await client.startup();
  running.push(client);
  return client;
}

const messageOf = (step) => ({
  topic: step.topic,
  body: Buffer.from(step.body, 'base64'),
  tag: step.tag,
  keys: step.keys ?? [],
  properties: new Map(Object.entries(step.properties ?? {})),
  messageGroup: step.messageGroup,
  deliveryTimestamp: step.deliverAt && new Date(step.deliverAt),
});

const seen = (message) => ({
  id: message.messageId,
  topic: message.topic,
  body: message.body.toString('base64'),
  tag: message.tag,
  keys: [...message.keys].sort(),
  properties: Object.fromEntries(message.properties),
  messageGroup: message.messageGroup,
  attempt: message.deliveryAttempt,
});

const checker = {
  async check(message) {
    const answer = message.properties.get('answer');
    say('asked', { answer, ...seen(message) });
    return answer === 'commit' ? v2.TransactionResolution.COMMIT : v2.TransactionResolution.ROLLBACK;
  },
};

const listener = (consumer) => ({
  async consume(message) {
    const count = (tries.get(message.messageId) ?? 0) + 1;
    tries.set(message.messageId, count);
    say('consumed', { consumer, ...seen(message) });
    return count <= Number(message.properties.get('fail') ?? 0) ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
  },
});

function subscriptions(step) {
  const { type, expression } = step.filter ?? { type: 'tag', expression: '*' };
  const kind = type === 'sql92' ? v2.FilterType.SQL : v2.FilterType.TAG;
  return new Map([[step.topic, new FilterExpression(expression, kind)]]);
}

const steps = {
  async producer(step) {
    producer = await started(new Producer({ ...config, topics: step.topics, checker: step.checker && checker }));
  },
  async send(step) {
    for (const [number, message] of step.messages.entries()) {
      try {
        const receipt = await producer.send(messageOf(message));
        say('sent', { number, id: receipt.messageId, recallHandle: receipt.recallHandle });
      } catch (error) {
        say('refused', { number, ...refusal(error) });
      }
    }
  },
  async transaction(step) {
    const begun = producer.beginTransaction();
    say('sent', { id: (await producer.send(messageOf(step.message), begun)).messageId });
    if (step.end === 'commit') await begun.commit();
    if (step.end === 'rollback') await begun.rollback();
  },
  async recall(step) {
    say('recalled', { id: (await producer.recallMessage(step.topic, step.handle)).messageId });
  },
  async simple(step) {
    const of = { consumerGroup: step.group, subscriptions: subscriptions(step), awaitDuration: step.awaitMs ?? 5000 };
    consumer = await started(new SimpleConsumer({ ...config, ...of }));
  },
  async receive(step) {
    for (const message of await consumer.receive(step.max ?? 32, step.invisibleMs ?? 30000)) {
      received.set(message.messageId, message);
      say('received', seen(message));
    }
  },
  async ack(step) {
    for (const id of step.ids) await consumer.ack(received.get(id));
  },
  async change(step) {
    await consumer.changeInvisibleDuration(received.get(step.id), step.invisibleMs);
  },
  async push(step) {
    const of = { consumerGroup: step.group, subscriptions: subscriptions(step), messageListener: listener(step.name) };
    await started(new PushConsumer({ ...config, ...of }));
  },
  async close() {
    while (running.length > 0) await running.pop().shutdown();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  try {
    await steps[told.do](told);
    say('done');
  } catch (error) {
    say('failed', refusal(error));
  }
}
process.exit(0);
