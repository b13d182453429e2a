// Does with RocketMQ's official Java client what it is told, a JSON object a line, and tells what it saw: it judges nothing.

import java.io.BufferedReader;
import java.io.Closeable;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Base64;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.StaticSessionCredentialsProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.MessageListener;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;
import org.apache.rocketmq.shaded.com.google.gson.Gson;
import org.apache.rocketmq.shaded.com.google.gson.JsonArray;
import org.apache.rocketmq.shaded.com.google.gson.JsonElement;
import org.apache.rocketmq.shaded.com.google.gson.JsonObject;
import org.apache.rocketmq.shaded.com.google.gson.JsonParser;

public class Driver {
    static final ClientServiceProvider PROVIDER = ClientServiceProvider.loadService();
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static final Gson GSON = new Gson();
    static final Map<String, MessageView> RECEIVED = new HashMap<>();
    static final Map<String, Integer> TRIES = new ConcurrentHashMap<>();
    static final Deque<Closeable> RUNNING = new ArrayDeque<>();
    static ClientConfiguration config;
    static Producer producer;
    static SimpleConsumer consumer;

    static synchronized void say(String saw, JsonObject more) {
        more.addProperty("saw", saw);
        OUT.println(more);
    }

    static JsonObject refusal(Throwable error) {
        while (error instanceof ExecutionException || error instanceof CompletionException) {
            error = error.getCause();
        }
        JsonObject told = new JsonObject();
        told.addProperty("error", error.toString());
        return told;
    }

    static String text(JsonObject step, String name) {
        return step.has(name) ? step.get(name).getAsString() : null;
    }

    static boolean is(JsonObject step, String name) {
        return step.has(name) && step.get(name).getAsBoolean();
    }

    static Duration millis(JsonObject step, String name, long otherwise) {
        return Duration.ofMillis(step.has(name) ? step.get(name).getAsLong() : otherwise);
    }

    static String[] texts(JsonElement list) {
        return GSON.fromJson(list == null ? new JsonArray() : list, String[].class);
    }

    static Message messageOf(JsonObject step) {
        var builder = PROVIDER.newMessageBuilder().setTopic(text(step, "topic")).setBody(Base64.getDecoder().decode(text(step, "body")));
        if (step.has("tag")) {
            builder.setTag(text(step, "tag"));
        }
        if (step.has("keys")) {
            builder.setKeys(texts(step.get("keys")));
        }
        if (step.has("properties")) {
            step.getAsJsonObject("properties").entrySet().forEach(each -> builder.addProperty(each.getKey(), each.getValue().getAsString()));
        }
        if (step.has("messageGroup")) {
            builder.setMessageGroup(text(step, "messageGroup"));
        }
        if (step.has("deliverAt")) {
            builder.setDeliveryTimestamp(step.get("deliverAt").getAsLong());
        }
        return builder.build();
    }

    static JsonObject seen(MessageView message) {
        ByteBuffer body = message.getBody();
        byte[] bytes = new byte[body.remaining()];
        body.get(bytes);
        JsonObject told = new JsonObject();
        told.addProperty("id", message.getMessageId().toString());
        told.addProperty("topic", message.getTopic());
        told.addProperty("body", Base64.getEncoder().encodeToString(bytes));
        told.addProperty("tag", message.getTag().orElse(null));
        told.add("keys", GSON.toJsonTree(message.getKeys()));
        told.add("properties", GSON.toJsonTree(message.getProperties()));
        told.addProperty("messageGroup", message.getMessageGroup().orElse(null));
        told.addProperty("attempt", message.getDeliveryAttempt());
        return told;
    }

    static TransactionResolution check(MessageView message) {
        String answer = message.getProperties().get("answer");
        JsonObject told = seen(message);
        told.addProperty("answer", answer);
        say("asked", told);
        return "commit".equals(answer) ? TransactionResolution.COMMIT : TransactionResolution.ROLLBACK;
    }

    static MessageListener listener(String name) {
        return message -> {
            int count = TRIES.merge(message.getMessageId().toString(), 1, Integer::sum);
            JsonObject told = seen(message);
            told.addProperty("consumer", name);
            say("consumed", told);
            int fails = Integer.parseInt(message.getProperties().getOrDefault("fail", "0"));
            return count <= fails ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
        };
    }

    static Map<String, FilterExpression> subscription(JsonObject step) {
        FilterExpression wanted = FilterExpression.SUB_ALL;
        if (step.has("filter")) {
            JsonObject filter = step.getAsJsonObject("filter");
            boolean isSql = "sql92".equals(text(filter, "type"));
            wanted = new FilterExpression(text(filter, "expression"), isSql ? FilterExpressionType.SQL92 : FilterExpressionType.TAG);
        }
        return Map.of(text(step, "topic"), wanted);
    }

    static void producer(JsonObject step) throws Exception {
        var builder = PROVIDER.newProducerBuilder().setClientConfiguration(config).setTopics(texts(step.get("topics")));
        if (is(step, "checker")) {
            builder.setTransactionChecker(Driver::check);
        }
        RUNNING.push(producer = builder.build());
    }

    static void send(JsonObject step) {
        int number = 0;
        for (JsonElement given : step.getAsJsonArray("messages")) {
            JsonObject told;
            try {
                Message message = messageOf(given.getAsJsonObject());
                var receipt = is(step, "async") ? producer.sendAsync(message).get() : producer.send(message);
                told = new JsonObject();
                told.addProperty("id", receipt.getMessageId().toString());
                told.addProperty("recallHandle", receipt.getRecallHandle());
            } catch (Exception error) {
                told = refusal(error);
            }
            told.addProperty("number", number++);
            say(told.has("error") ? "refused" : "sent", told);
        }
    }

    static void transaction(JsonObject step) throws Exception {
        var begun = producer.beginTransaction();
        JsonObject told = new JsonObject();
        told.addProperty("id", producer.send(messageOf(step.getAsJsonObject("message")), begun).getMessageId().toString());
        say("sent", told);
        if ("commit".equals(text(step, "end"))) {
            begun.commit();
        } else if ("rollback".equals(text(step, "end"))) {
            begun.rollback();
        }
    }

    static void recall(JsonObject step) throws Exception {
        JsonObject told = new JsonObject();
        told.addProperty("id", producer.recallMessage(text(step, "topic"), text(step, "handle")).getMessageId().toString());
        say("recalled", told);
    }

    static void simple(JsonObject step) throws Exception {
        RUNNING.push(consumer = PROVIDER.newSimpleConsumerBuilder()
            .setClientConfiguration(config)
            .setConsumerGroup(text(step, "group"))
            .setAwaitDuration(millis(step, "awaitMs", 5_000))
            .setSubscriptionExpressions(subscription(step))
            .build());
    }

    static void receive(JsonObject step) throws Exception {
        int max = step.has("max") ? step.get("max").getAsInt() : 32;
        Duration invisible = millis(step, "invisibleMs", 30_000);
        var messages = is(step, "async") ? consumer.receiveAsync(max, invisible).get() : consumer.receive(max, invisible);
        for (MessageView message : messages) {
            RECEIVED.put(message.getMessageId().toString(), message);
            say("received", seen(message));
        }
    }

    static void ack(JsonObject step) throws Exception {
        for (String id : texts(step.get("ids"))) {
            if (is(step, "async")) {
                consumer.ackAsync(RECEIVED.get(id)).get();
            } else {
                consumer.ack(RECEIVED.get(id));
            }
        }
    }

    static void change(JsonObject step) throws Exception {
        consumer.changeInvisibleDuration(RECEIVED.get(text(step, "id")), millis(step, "invisibleMs", 0));
    }

    static void push(JsonObject step) throws Exception {
        RUNNING.push(PROVIDER.newPushConsumerBuilder()
            .setClientConfiguration(config)
            .setConsumerGroup(text(step, "group"))
            .setSubscriptionExpressions(subscription(step))
            .setMessageListener(listener(text(step, "name")))
            .build());
    }

    static void close() throws Exception {
        while (!RUNNING.isEmpty()) {
            RUNNING.pop().close();
        }
    }

    static void act(JsonObject step) throws Exception {
        switch (text(step, "do")) {
            case "producer" -> producer(step);
            case "send" -> send(step);
            case "transaction" -> transaction(step);
            case "recall" -> recall(step);
            case "simple" -> simple(step);
            case "receive" -> receive(step);
            case "ack" -> ack(step);
            case "change" -> change(step);
            case "push" -> push(step);
            case "close" -> close();
            default -> throw new IllegalArgumentException(text(step, "do"));
        }
    }

    public static void main(String[] args) throws Exception {
        JsonObject at = JsonParser.parseString(args[0]).getAsJsonObject();
        var builder = ClientConfiguration.newBuilder().setEndpoints(text(at, "endpoints")).enableSsl(is(at, "tls"));
        if (at.has("accessKey")) {
            builder.setCredentialProvider(new StaticSessionCredentialsProvider(text(at, "accessKey"), text(at, "accessSecret")));
        }
        config = builder.build();
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                act(JsonParser.parseString(line).getAsJsonObject());
                say("done", new JsonObject());
            } catch (Throwable error) {
                say("failed", refusal(error));
            }
        }
        System.exit(0);
    }
}
