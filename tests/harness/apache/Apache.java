import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONArray;
import com.alibaba.fastjson2.JSONObject;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.BrokerStartup;
import org.apache.rocketmq.broker.transaction.queue.TransactionalMessageUtil;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.KeyBuilder;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.namesrv.NamesrvConfig;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.proxy.ProxyStartup;
import org.apache.rocketmq.proxy.common.ProxyContext;
import org.apache.rocketmq.proxy.config.ConfigurationManager;
import org.apache.rocketmq.proxy.config.ProxyConfig;
import org.apache.rocketmq.proxy.grpc.GrpcServer;
import org.apache.rocketmq.proxy.grpc.GrpcServerBuilder;
import org.apache.rocketmq.proxy.grpc.v2.GrpcMessagingApplication;
import org.apache.rocketmq.proxy.metrics.ProxyMetricsManager;
import org.apache.rocketmq.proxy.processor.DefaultMessagingProcessor;
import org.apache.rocketmq.remoting.netty.NettyServerConfig;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.subscription.CustomizedRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicyType;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.store.GetMessageResult;
import org.apache.rocketmq.store.SelectMappedBufferResult;

/**
 * Apache's name server, broker and proxy in one process (the proxy's own local mode), started as Gantry is: same flags,
 * same line when it is ready. The HTTP port answers the few calls of Gantry's REST API that tests and benchmarks judge
 * by, each out of the broker's own tables; clients meet Apache's code alone.
 */
public final class Apache {
    private static final int PULLED_AT_ONCE = 32;
    private static final String ID = MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX;

    private final NamesrvController names;
    private final BrokerController broker;
    private final DefaultMessagingProcessor proxy;
    private final GrpcServer grpc;
    private final HttpServer http;
    private final DefaultMQProducer producer;

    public static void main(String[] args) throws Exception {
        // Apache's own chatter goes elsewhere: stdout has one line.
        PrintStream ready = System.out;
        System.setOut(System.err);
        Map<String, String> flags = new HashMap<>();
        for (int at = 0; at < args.length; at++) {
            int equals = args[at].indexOf('=');
            String name = equals < 0 ? args[at] : args[at].substring(0, equals);
            flags.put(name, equals < 0 ? args[++at] : args[at].substring(equals + 1));
        }
        // Logs go below the one, files of configuration are looked for below the other.
        String home = Path.of(flags.get("--data-dir")).toAbsolutePath().toString();
        System.setProperty("user.home", home);
        System.setProperty("rocketmq.home.dir", home);
        // Without it the name server takes the broker for a very old one and reads no topics.
        System.setProperty(RemotingCommand.REMOTING_VERSION_KEY, Integer.toString(MQVersion.CURRENT_VERSION));
        Apache apache = new Apache(flags);
        Runtime.getRuntime().addShutdownHook(new Thread(apache::stop));
        ready.println("gantry ready http=127.0.0.1:" + apache.http.getAddress().getPort() + " grpc=127.0.0.1:"
            + ConfigurationManager.getProxyConfig().getGrpcServerPort());
        ready.flush();
    }

    private Apache(Map<String, String> flags) throws Exception {
        Path home = Path.of(flags.get("--data-dir"));
        Files.createDirectories(home);
        int namesPort = freePort();
        NettyServerConfig namesServer = new NettyServerConfig();
        namesServer.setBindAddress("127.0.0.1");
        namesServer.setListenPort(namesPort);
        NamesrvConfig namesConfig = new NamesrvConfig();
        namesConfig.setKvConfigPath(home.resolve("kv.json").toString());
        names = new NamesrvController(namesConfig, namesServer);
        require(names.initialize(), "the name server starts");
        names.start();

        int grpcPort = port(flags.get("--grpc-listen"));
        JSONObject config = JSONObject.of("rocketMQClusterName", "DefaultCluster", "proxyMode", "LOCAL",
            "grpcServerPort", grpcPort, "localServeAddr", "127.0.0.1");
        config.fluentPut("namesrvAddr", "127.0.0.1:" + namesPort).put("remotingListenPort", freePort());
        if (flags.containsKey("--tls-certificate")) {
            config.fluentPut("tlsTestModeEnable", false).fluentPut("tlsCertPath", flags.get("--tls-certificate"))
                .put("tlsKeyPath", flags.get("--tls-key"));
        }
        String users = "org.apache.rocketmq.proxy.auth.ProxyAuthenticationMetadataProvider";
        config.putAll(authentication(flags.get("--config"), users));
        Path proxyConfig = home.resolve("rmq-proxy.json");
        Files.writeString(proxyConfig, config.toString());
        System.setProperty("com.rocketmq.proxy.configPath", proxyConfig.toString());
        ConfigurationManager.initEnv();
        ConfigurationManager.intConfig();
        ProxyStartup.initThreadPoolMonitor();

        String brokerConfig = brokerConfig(flags, home, namesPort).toString();
        broker = BrokerStartup.buildBrokerController(new String[] {"-c", brokerConfig});
        require(broker.initialize(), "the broker starts");
        ProxyConfig proxyTree = ConfigurationManager.getProxyConfig();
        ProxyMetricsManager.initLocalMode(broker.getBrokerMetricsManager(), proxyTree);
        proxy = DefaultMessagingProcessor.createForLocalMode(broker);
        grpc = GrpcServerBuilder.newBuilder(ProxyStartup.createServerExecutor(), grpcPort)
            .addService(GrpcMessagingApplication.create(proxy)).configInterceptor().build();
        broker.start();
        proxy.start();
        grpc.start();

        producer = new DefaultMQProducer("publish");
        producer.setNamesrvAddr("127.0.0.1:" + namesPort);
        producer.start();
        http = HttpServer.create(new InetSocketAddress("127.0.0.1", port(flags.get("--http-listen"))), 0);
        http.setExecutor(Executors.newCachedThreadPool());
        http.createContext("/", this::answer);
        http.start();
    }

    /** What a broker needs to be told to do what the tests ask of it; all else is as Apache has it. */
    private static Path brokerConfig(Map<String, String> flags, Path home, int namesPort) throws IOException {
        List<String> lines = new ArrayList<>(List.of("brokerName=broker-a", "brokerClusterName=DefaultCluster",
            "brokerIP1=127.0.0.1", "brokerIP2=127.0.0.1", "bindAddress=127.0.0.1",
            "namesrvAddr=127.0.0.1:" + namesPort,
            "listenPort=" + freePort(), "haListenPort=" + freePort(), "storePathRootDir=" + home,
            "storePathCommitLog=" + home.resolve("commitlog"), "autoCreateTopicEnable=false",
            "enablePropertyFilter=true",
            "recallMessageEnable=true", "diskMaxUsedSpaceRatio=95"));
        lines.add("flushDiskType=" + ("disk".equals(flags.get("--durability")) ? "SYNC_FLUSH" : "ASYNC_FLUSH"));
        if (flags.containsKey("--segment-size")) {
            lines.add("mappedFileSizeCommitLog=" + flags.get("--segment-size"));
        }
        if (flags.containsKey("--transaction-timeout")) {
            lines.add("transactionTimeOut=" + millis(flags.get("--transaction-timeout")));
            lines.add("transactionCheckInterval=" + millis(flags.get("--transaction-check-interval")));
            // Three seconds by default: whoever asks sooner than that is told again what was decided.
            lines.add("transactionOpBatchInterval=50");
        }
        String users = "org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider";
        authentication(flags.get("--config"), users).forEach((key, value) -> lines.add(key + "=" + value));
        return Files.write(home.resolve("broker.conf"), lines);
    }

    /** The one user of Gantry's configuration, who is also the servers' own among themselves. */
    private static Map<String, Object> authentication(String path, String users) throws IOException {
        if (path == null) {
            return Map.of();
        }
        Map<String, String> user = new HashMap<>();
        for (String line : Files.readAllLines(Path.of(path))) {
            String[] words = line.split(" = ");
            if (words.length == 2) {
                user.put(words[0], JSON.parse(words[1]).toString());
            }
        }
        JSONObject known = JSONObject.of("username", user.get("access_key"), "password", user.get("secret"));
        JSONObject own = JSONObject.of("accessKey", user.get("access_key"), "secretKey", user.get("secret"));
        return Map.of("authenticationEnabled", true, "authenticationMetadataProvider", users,
            "authenticationProvider", "org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider",
            "initAuthenticationUser", known.toString(), "innerClientAuthenticationCredentials", own.toString());
    }

    private void stop() {
        try {
            grpc.shutdown();
            proxy.shutdown();
            broker.shutdown();
        } catch (Throwable failure) {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        // The name server keeps nothing.
        Runtime.getRuntime().halt(0);
    }

    private void answer(HttpExchange call) throws IOException {
        String said;
        int status;
        try {
            byte[] body = call.getRequestBody().readAllBytes();
            Object answered = answer(call, body.length == 0 ? null : JSON.parseObject(body));
            status = answered == null ? 404 : answered instanceof Integer ? (Integer) answered : 200;
            said = answered instanceof JSONObject ? answered.toString() : "{}";
        } catch (Throwable failure) {
            failure.printStackTrace();
            status = 500;
            said = JSONObject.of("detail", failure.toString()).toString();
        }
        byte[] bytes = said.getBytes(StandardCharsets.UTF_8);
        call.getResponseHeaders().add("Content-Type", "application/json");
        call.sendResponseHeaders(status, bytes.length);
        call.getResponseBody().write(bytes);
        call.close();
    }

    /** A status, a JSON object that goes with 200, or null, which is 404. */
    private Object answer(HttpExchange call, JSONObject asked) throws Exception {
        String query = call.getRequestURI().getQuery();
        String[] path = call.getRequestURI().getRawPath().split("/");
        for (int at = 0; at < path.length; at++) {
            path[at] = URLDecoder.decode(path[at], StandardCharsets.UTF_8);
        }
        String name = path[3];
        String below = String.join("/", Arrays.copyOfRange(path, 4, path.length));
        String place = call.getRequestMethod() + " " + path[2] + (below.isEmpty() ? "" : "/" + below);
        switch (place) {
            case "PUT topics":
                return putTopic(name, asked);
            case "PUT groups":
                return putGroup(name, asked);
            case "GET topics":
                return broker.getTopicConfigManager().getTopicConfigTable().containsKey(name) ? new JSONObject() : null;
            case "GET groups":
                boolean isThere = broker.getSubscriptionGroupManager().getSubscriptionGroupTable().containsKey(name);
                return isThere ? new JSONObject() : null;
            case "POST topics/messages/batch":
                return publish(name, asked.getJSONArray("messages"));
            case "GET topics/messages":
                return JSONObject.of("items", held(name, true));
            case "GET topics/queues":
                return queues(name);
            case "GET topics/transactions":
                return transactions();
            case "GET groups/lag":
                return lag(name, query);
            case "GET groups/dlq/messages":
                return JSONObject.of("items", deadLetters(name));
            case "DELETE scheduled":
                return recall(name);
            default:
                return null;
        }
    }

    private int putTopic(String name, JSONObject asked) throws Exception {
        int readQueues = asked.getIntValue("readQueues", 8);
        TopicConfig config = new TopicConfig(name, readQueues, asked.getIntValue("writeQueues", 8));
        String type = asked.getString("messageType");
        config.setAttributes(Map.of("+message.type", type == null ? "NORMAL" : type.toUpperCase()));
        broker.getTopicConfigManager().updateTopicConfig(config);
        while (names.getRouteInfoManager().pickupTopicRouteData(name) == null) {
            broker.registerBrokerAll(true, false, true);
            Thread.sleep(20);
        }
        return 201;
    }

    private int putGroup(String name, JSONObject asked) {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(name);
        config.setRetryMaxTimes(asked.getIntValue("retryMaxTimes", 16));
        config.setConsumeMessageOrderly(asked.getBooleanValue("orderly"));
        JSONObject policy = asked.getJSONObject("retryPolicy");
        if (policy != null) {
            long[] next = policy.getJSONArray("next").stream().mapToLong(text -> millis(text.toString())).toArray();
            GroupRetryPolicy retry = new GroupRetryPolicy();
            retry.setType(GroupRetryPolicyType.CUSTOMIZED);
            retry.setCustomizedRetryPolicy(new CustomizedRetryPolicy(next));
            config.setGroupRetryPolicy(retry);
        }
        broker.getSubscriptionGroupManager().updateSubscriptionGroupConfig(config);
        return 201;
    }

    private int publish(String topic, JSONArray messages) throws Exception {
        TopicConfig config = broker.getTopicConfigManager().selectTopicConfig(topic);
        for (int number = 0; number < messages.size(); number++) {
            JSONObject asked = messages.getJSONObject(number);
            String encoded = asked.getString("bodyBase64");
            byte[] body = encoded != null ? Base64.getDecoder().decode(encoded)
                : asked.getString("body").getBytes(StandardCharsets.UTF_8);
            Message message = new Message(topic, body);
            if (asked.containsKey("tag")) {
                message.setTags(asked.getString("tag"));
            }
            if (asked.containsKey("properties")) {
                asked.getJSONObject("properties")
                    .forEach((key, value) -> message.putUserProperty(key, value.toString()));
            }
            if (asked.containsKey("messageId")) {
                MessageAccessor.putProperty(message, ID, asked.getString("messageId"));
            }
            int queue = number % config.getWriteQueueNums();
            String messageGroup = asked.getString("messageGroup");
            if (messageGroup != null) {
                MessageAccessor.putProperty(message, MessageConst.PROPERTY_SHARDING_KEY, messageGroup);
                queue = Math.floorMod(messageGroup.hashCode(), config.getWriteQueueNums());
            }
            producer.send(message, new MessageQueue(topic, "broker-a", queue));
        }
        return 201;
    }

    /** All that lies in a topic's queues. */
    private JSONArray held(String topic, boolean isBase64) throws Exception {
        JSONArray items = new JSONArray();
        TopicConfig config = broker.getTopicConfigManager().selectTopicConfig(topic);
        for (int queue = 0; config != null && queue < config.getReadQueueNums(); queue++) {
            long offset = broker.getMessageStore().getMinOffsetInQueue(topic, queue);
            while (offset < broker.getMessageStore().getMaxOffsetInQueue(topic, queue)) {
                GetMessageResult got =
                    broker.getMessageStore().getMessage("tests", topic, queue, offset, PULLED_AT_ONCE, null);
                for (SelectMappedBufferResult one : got.getMessageMapedList()) {
                    items.add(shown(MessageDecoder.decode(one.getByteBuffer(), true, false), isBase64));
                }
                offset = got.getNextBeginOffset();
                got.release();
            }
        }
        return items;
    }

    private JSONArray deadLetters(String group) throws Exception {
        JSONArray items = held(MixAll.getDLQTopic(group), false);
        for (int at = 0; at < items.size(); at++) {
            JSONObject letter = items.getJSONObject(at);
            String topic = KeyBuilder.parseNormalTopic(letter.getString("retryTopic"), group);
            letter.put("deadLetter", JSONObject.of("topic", topic));
        }
        return items;
    }

    private static JSONObject shown(MessageExt message, boolean isBase64) {
        JSONObject shown = JSONObject.of("messageId", message.getProperty(ID), "queueId", message.getQueueId());
        shown.put("queueOffset", message.getQueueOffset());
        byte[] body = message.getBody();
        String text = isBase64 ? Base64.getEncoder().encodeToString(body) : new String(body, StandardCharsets.UTF_8);
        shown.put("body", text);
        shown.put("tag", message.getTags());
        shown.put("keys", message.getKeys() == null ? List.of() : List.of(message.getKeys().split(" ")));
        shown.put("messageGroup", message.getProperty(MessageConst.PROPERTY_SHARDING_KEY));
        shown.put("retryTopic", message.getProperty(MessageConst.PROPERTY_RETRY_TOPIC));
        JSONObject properties = new JSONObject();
        message.getProperties().forEach((key, value) -> {
            if (!MessageConst.STRING_HASH_SET.contains(key)) {
                properties.put(key, value);
            }
        });
        return shown.fluentPut("properties", properties);
    }

    private JSONObject queues(String topic) throws Exception {
        JSONArray items = new JSONArray();
        TopicConfig config = broker.getTopicConfigManager().selectTopicConfig(topic);
        for (int queue = 0; config != null && queue < config.getReadQueueNums(); queue++) {
            long end = broker.getMessageStore().getMaxOffsetInQueue(topic, queue);
            items.add(JSONObject.of("queueId", queue, "maxOffset", end));
        }
        return JSONObject.of("items", items);
    }

    /** What the check of half messages has not passed yet: it passes what is decided. */
    private JSONObject transactions() throws Exception {
        String half = TransactionalMessageUtil.buildHalfTopic();
        String checker = TransactionalMessageUtil.buildConsumerGroup();
        long passed = broker.getConsumerOffsetManager().queryOffset(checker, half, 0);
        long end = broker.getMessageStore().getMaxOffsetInQueue(half, 0);
        JSONArray items = new JSONArray();
        for (long offset = Math.max(passed, 0); offset < end; offset++) {
            items.add(JSONObject.of("queueOffset", offset));
        }
        return JSONObject.of("items", items);
    }

    /** Behind in its topics and in what they failed with, and what was popped and not acked of both. */
    private JSONObject lag(String group, String query) throws Exception {
        String topic = null;
        if (query != null && query.startsWith("topic=")) {
            topic = query.substring("topic=".length());
        }
        long lag = 0;
        long inflight = 0;
        List<String> topics = new ArrayList<>();
        if (topic != null) {
            topics.add(topic);
        } else {
            topics.addAll(broker.getConsumerOffsetManager().whichTopicByConsumer(group));
        }
        for (String original : List.copyOf(topics)) {
            topics.add(KeyBuilder.buildPopRetryTopicV1(original, group));
            topics.add(KeyBuilder.buildPopRetryTopicV2(original, group));
        }
        for (String each : topics) {
            TopicConfig config = broker.getTopicConfigManager().selectTopicConfig(each);
            for (int queue = 0; config != null && queue < config.getReadQueueNums(); queue++) {
                long consumed = broker.getConsumerOffsetManager().queryOffset(group, each, queue);
                lag += broker.getMessageStore().getMaxOffsetInQueue(each, queue) - Math.max(consumed, 0);
                inflight += broker.getPopInflightMessageCounter().getGroupPopInFlightMessageNum(each, group, queue);
            }
        }
        JSONArray one = JSONArray.of(JSONObject.of("topic", topic, "inflight", inflight));
        return JSONObject.of("totalLag", lag, "inflight", inflight, "topics", one);
    }

    private Integer recall(String handle) {
        String topic = new String(Base64.getUrlDecoder().decode(handle), StandardCharsets.UTF_8).split(" ")[1];
        try {
            proxy.recallMessage(ProxyContext.create(), topic, handle, 3_000).get();
            return 200;
        } catch (Exception refused) {
            return 404;
        }
    }

    private static long millis(String duration) {
        require(duration.matches("[0-9]+s"), "a duration in seconds: " + duration);
        return 1_000 * Long.parseLong(duration.substring(0, duration.length() - 1));
    }

    private static int port(String listen) throws IOException {
        int port = Integer.parseInt(listen.substring(listen.lastIndexOf(':') + 1));
        return port == 0 ? freePort() : port;
    }

    private static int freePort() throws IOException {
        // The broker takes the port two below as well.
        while (true) {
            InetAddress loopback = InetAddress.getByName("127.0.0.1");
            try (ServerSocket socket = new ServerSocket(0, 1, loopback);
                ServerSocket below = new ServerSocket(socket.getLocalPort() - 2, 1, loopback)) {
                return socket.getLocalPort();
            } catch (java.net.BindException taken) {
                // Another pair, then.
            }
        }
    }

    private static void require(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException("not so: " + what);
        }
    }
}
