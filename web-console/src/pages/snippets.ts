/** First lines of code against this server, one message there and back. */

import { curl } from "../curl";
import { apiPaths } from "../paths";

export const languages = ["curl", "Python", "Java", "Go"] as const;
export type SnippetLanguage = (typeof languages)[number];

/** Where RocketMQ's clients connect, unless it was configured otherwise. */
const grpcPort = 8081;

interface Place {
  /** As in a browser: `http://host:8080`. */
  server: string;
  topic: string;
  group: string;
}

/** A string literal that all three languages read alike. */
const literal = (text: string) => JSON.stringify(text);

export function consumeCalls({ server, topic, group }: Place): string {
  const receive = curl({
    method: "POST",
    url: `${server}${apiPaths.receive(group)}`,
    headers: [["Prefer", "wait=20"]],
    json: { topic },
  });
  return `${receive}\n\n# the receiptHandle of that answer ends the lease\ncurl -X DELETE ${server}/v1/receipts/HANDLE`;
}

export function sendCall({ server, topic }: Place): string {
  return curl({
    method: "POST",
    url: `${server}${apiPaths.messages(topic)}`,
    headers: [["Gantry-Tag", "hello"]],
    data: "Hello from curl",
  });
}

export function snippet(language: SnippetLanguage, place: Place): string {
  const endpoint = literal(`${new URL(place.server).hostname}:${grpcPort}`);
  const [topic, group] = [literal(place.topic), literal(place.group)];
  switch (language) {
    case "curl":
      return `${sendCall(place)}\n\n${consumeCalls(place)}`;
    case "Python":
      return `# pip install rocketmq-python-client
from rocketmq import ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer

config = ClientConfiguration(${endpoint}, Credentials())

producer = Producer(config, (${topic},))
producer.startup()
message = Message()
message.topic, message.body, message.tag = ${topic}, b"Hello from Python", "hello"
print(producer.send(message).message_id)
producer.shutdown()

consumer = SimpleConsumer(config, ${group}, {${topic}: FilterExpression("*")})
consumer.startup()
for message in consumer.receive(16, 30):
    print(message.body)
    consumer.ack(message)
consumer.shutdown()`;
    case "Java":
      return `// org.apache.rocketmq:rocketmq-client-java
ClientServiceProvider provider = ClientServiceProvider.loadService();
ClientConfiguration configuration = ClientConfiguration.newBuilder()
    .setEndpoints(${endpoint}).enableSsl(false).build();

Producer producer = provider.newProducerBuilder()
    .setClientConfiguration(configuration).setTopics(${topic}).build();
producer.send(provider.newMessageBuilder()
    .setTopic(${topic}).setTag("hello").setBody("Hello from Java".getBytes()).build());

SimpleConsumer consumer = provider.newSimpleConsumerBuilder()
    .setClientConfiguration(configuration).setConsumerGroup(${group})
    .setAwaitDuration(Duration.ofSeconds(20))
    .setSubscriptionExpressions(Map.of(${topic}, FilterExpression.SUB_ALL)).build();
for (MessageView message : consumer.receive(16, Duration.ofSeconds(30))) {
    System.out.println(StandardCharsets.UTF_8.decode(message.getBody()));
    consumer.ack(message);
}`;
    case "Go":
      return `// rmq "github.com/apache/rocketmq-clients/golang/v5", and its package credentials
rmq.EnableSsl = false
config := &rmq.Config{
	Endpoint: ${endpoint}, ConsumerGroup: ${group}, Credentials: &credentials.SessionCredentials{},
}

producer, err := rmq.NewProducer(config, rmq.WithTopics(${topic}))
if err != nil || producer.Start() != nil {
	log.Fatal("no producer: ", err)
}
_, err = producer.Send(ctx, &rmq.Message{Topic: ${topic}, Body: []byte("Hello from Go")})

consumer, err := rmq.NewSimpleConsumer(config,
	rmq.WithSimpleAwaitDuration(20*time.Second),
	rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{${topic}: rmq.SUB_ALL}))
if err != nil || consumer.Start() != nil {
	log.Fatal("no consumer: ", err)
}
messages, err := consumer.Receive(ctx, 16, 30*time.Second)
for _, message := range messages {
	fmt.Println(string(message.GetBody()))
	consumer.Ack(ctx, message)
}`;
  }
}
