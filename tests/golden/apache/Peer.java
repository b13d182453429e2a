import java.io.File;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.MessageQueueSelector;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.namesrv.NamesrvConfig;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyServerConfig;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.store.config.MessageStoreConfig;

/**
 * Apache's own broker on a store directory, for one phase of a test:
 *   write DIR   sends messages of its own and commits some offsets
 *   read DIR    sends nothing, and commits the transactions that it is asked about, which are COUNT (a third argument)
 *   carry DIR   goes on with what is in flight: see {@link #carry}
 * All end with a clean stop, after saying on stdout what every queue holds:
 *   message TOPIC QUEUE OFFSET PLACE STORED TAG KEYS BODY     (BODY in hex, "-" for what is missing)
 *   committed GROUP TOPIC QUEUE OFFSET
 *   checked BODY     of each question about a transaction
 *   popped OFFSET    of each message that a pop got
 */
public final class Peer {
    private static final String[] WRITTEN = {"orders", "events"};
    private static final String[] CARRIED = {"later", "deals", "events"};
    private static final String[] GROUPS = {"billing", "audit"};
    private static final int SEGMENT_BYTES = 1 << 20;

    private final NamesrvController names;
    private final BrokerController broker;
    private final String namesAddress;
    private final String[] topics;

    private Peer(File dir, String phase) throws Exception {
        boolean asks = !phase.equals("write");
        topics = phase.equals("carry") ? CARRIED : WRITTEN;
        int namesPort = freePort();
        namesAddress = "127.0.0.1:" + namesPort;
        NettyServerConfig namesServer = new NettyServerConfig();
        namesServer.setBindAddress("127.0.0.1");
        namesServer.setListenPort(namesPort);
        NamesrvConfig namesConfig = new NamesrvConfig();
        namesConfig.setKvConfigPath(new File(dir.getParentFile(), "kv.json").getPath());
        names = new NamesrvController(namesConfig, namesServer);
        require(names.initialize(), "the name server starts");
        names.start();

        BrokerConfig config = new BrokerConfig();
        config.setBrokerName("broker-a");
        config.setBrokerClusterName("DefaultCluster");
        config.setBrokerIP1("127.0.0.1");
        config.setBrokerIP2("127.0.0.1");
        config.setNamesrvAddr(namesAddress);
        // Ends sooner.
        config.setReviveQueueNum(1);
        config.setReviveInterval(100);
        config.setTransactionTimeOut(asks ? 100 : 3_600_000);
        config.setTransactionCheckInterval(asks ? (topics == CARRIED ? 2_000 : 300) : 3_600_000);
        config.setTransactionOpBatchInterval(50);
        // However slow the machine is: what stays open is not given up.
        config.setTransactionCheckMax(10_000);
        config.setListenPort(freePort());
        NettyServerConfig server = new NettyServerConfig();
        server.setBindAddress("127.0.0.1");
        server.setListenPort(config.getListenPort());
        MessageStoreConfig store = new MessageStoreConfig();
        store.setStorePathRootDir(dir.getPath());
        store.setStorePathCommitLog(new File(dir, "commitlog").getPath());
        store.setMappedFileSizeCommitLog(SEGMENT_BYTES);
        store.setHaListenPort(freePort());
        // A test machine's disk may be fuller than Apache likes.
        store.setDiskMaxUsedSpaceRatio(95);
        broker = new BrokerController(config, server, new NettyClientConfig(), store);
        require(broker.initialize(), "the broker starts");
        broker.start();
    }

    public static void main(String[] args) throws Exception {
        // Without it the name server takes the broker for a very old one and reads no topics.
        System.setProperty(RemotingCommand.REMOTING_VERSION_KEY, Integer.toString(MQVersion.CURRENT_VERSION));
        // Keys nobody uses cost seconds.
        System.setProperty("tls.server.mode", "disabled");
        Peer peer = new Peer(new File(args[1]), args[0]);
        try {
            if (args[0].equals("write")) {
                peer.write();
            }
            peer.announce();
            if (args[0].equals("read")) {
                peer.answerChecks("orders", Integer.parseInt(args[2]));
            }
            if (args[0].equals("carry")) {
                peer.carry(args[2], args[3], Integer.parseInt(args[4]), Integer.parseInt(args[5]));
            }
            peer.say();
        } catch (Throwable failure) {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        peer.broker.shutdown();
        System.out.println("stopped");
        System.out.flush();
        // Clients and name server keep nothing, and each would take three seconds to end.
        Runtime.getRuntime().halt(0);
    }

    /** Returns when the name server knows the topics. */
    private void announce() throws Exception {
        for (String topic : topics) {
            while (names.getRouteInfoManager().pickupTopicRouteData(topic) == null) {
                broker.registerBrokerAll(true, false, true);
                Thread.sleep(20);
            }
        }
    }

    private void write() throws Exception {
        broker.getTopicConfigManager().updateTopicConfig(new TopicConfig("orders", 4, 4));
        broker.getTopicConfigManager().updateTopicConfig(new TopicConfig("events", 1, 1));
        for (String group : GROUPS) {
            broker.getSubscriptionGroupManager().findSubscriptionGroupConfig(group);
        }
        announce();
        DefaultMQProducer producer = new DefaultMQProducer("writers");
        producer.setNamesrvAddr(namesAddress);
        // Both sides show bodies as they are stored; the client would take compressed ones apart.
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        Random random = new Random(1);
        MessageQueueSelector byNumber = (queues, message, number) -> {
            List<MessageQueue> sorted = new ArrayList<>(queues);
            sorted.sort(Comparator.naturalOrder());
            return sorted.get((Integer) number % sorted.size());
        };
        for (int number = 0; number < 300; number++) {
            byte[] body = new byte[1 + random.nextInt(16000)];
            random.nextBytes(body);
            Message message = new Message(WRITTEN[number % 3 == 0 ? 1 : 0], body);
            if (number % 2 == 0) {
                message.setTags("tag" + number % 5);
            }
            message.setKeys("key-" + number + " shared");
            message.putUserProperty("number", "" + number);
            SendResult sent = producer.send(message, byNumber, number);
            require(sent.getSendStatus() == SendStatus.SEND_OK, "sent");
        }
        // Stays away for half an hour: nobody may see it.
        Message later = new Message("orders", "later".getBytes(StandardCharsets.UTF_8));
        later.setDelayTimeLevel(16);
        producer.send(later);
        List<Message> batch = new ArrayList<>();
        for (int number = 0; number < 5; number++) {
            batch.add(new Message("events", "batched", "batch-" + number, ("in a batch " + number).getBytes(StandardCharsets.UTF_8)));
        }
        producer.send(batch);
        for (int queue = 0; queue < 4; queue++) {
            broker.getConsumerOffsetManager().commitOffset("test", "billing", "orders", queue, 10 + queue);
        }
        broker.getConsumerOffsetManager().commitOffset("test", "audit", "events", 0, 7);
        beginTransactions();
    }

    /** One is committed, one is rolled back, one stays open. */
    private void beginTransactions() throws Exception {
        TransactionMQProducer producer = transactionProducer("orders", new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                return (LocalTransactionState) state;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                throw new IllegalStateException("asked too soon");
            }
        });
        for (LocalTransactionState state : LocalTransactionState.values()) {
            Message message = new Message("orders", ("their " + state).getBytes(StandardCharsets.UTF_8));
            message.setKeys("transaction " + state);
            producer.sendMessageInTransaction(message, state);
        }
        // Decided with the last op record written.
        while (broker.getMessageStore().getMaxOffsetInQueue("RMQ_SYS_TRANS_OP_HALF_TOPIC", 0) == 0) {
            Thread.sleep(20);
        }
        Thread.sleep(500);
        producer.shutdown();
    }

    /**
     * Sends what begins with OWN: it comes in 3 s, in an hour, after 60 h (by way of another second) and with the last
     * level, and a transaction stays open. Pops once from "events" and acks the offsets of ACKS. Answers the questions
     * about CHECKS transactions, its own included, and waits until "later" holds as many messages as DELIVERED.
     */
    private void carry(String own, String acks, int checks, int delivered) throws Exception {
        long now = System.currentTimeMillis();
        DefaultMQProducer producer = new DefaultMQProducer("writers");
        producer.setNamesrvAddr(namesAddress);
        producer.start();
        for (String when : new String[] {"3000 soon", "3600000 in an hour", "216000000 in days"}) {
            int space = when.indexOf(' ');
            Message message = new Message("later", (own + when.substring(space)).getBytes(StandardCharsets.UTF_8));
            message.setDeliverTimeMs(now + Long.parseLong(when.substring(0, space)));
            require(producer.send(message).getSendStatus() == SendStatus.SEND_OK, "sent " + when);
        }
        Message message = new Message("later", (own + " with a level").getBytes(StandardCharsets.UTF_8));
        message.setDelayTimeLevel(18);
        producer.send(message);
        pop(producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl(), acks);
        answerChecks("deals", checks, new Message("deals", (own + " open").getBytes(StandardCharsets.UTF_8)));
        while (broker.getMessageStore().getMaxOffsetInQueue("later", 0) < delivered) {
            Thread.sleep(50);
        }
        // More would have come by now.
        Thread.sleep(1_500);
        producer.shutdown();
    }

    private void pop(MQClientAPIImpl api, String acks) throws Exception {
        PopMessageRequestHeader pop = new PopMessageRequestHeader();
        pop.setConsumerGroup("audit");
        pop.setTopic("events");
        pop.setQueueId(0);
        pop.setMaxMsgNums(32);
        pop.setInvisibleTime(60_000);
        pop.setPollTime(1_000);
        pop.setBornTime(System.currentTimeMillis());
        pop.setInitMode(0);
        pop.setExpType(ExpressionType.TAG);
        pop.setExp("*");
        CompletableFuture<PopResult> popped = new CompletableFuture<>();
        api.popMessageAsync("broker-a", broker.getBrokerAddr(), pop, 5_000, new PopCallback() {
            @Override
            public void onSuccess(PopResult result) {
                popped.complete(result);
            }

            @Override
            public void onException(Throwable failure) {
                popped.completeExceptionally(failure);
            }
        });
        Set<String> acked = Stream.of(acks.split(",")).collect(Collectors.toSet());
        for (MessageExt message : popped.get().getMsgFoundList()) {
            System.out.println("popped " + message.getQueueOffset());
            if (!acked.contains("" + message.getQueueOffset())) {
                continue;
            }
            AckMessageRequestHeader ack = new AckMessageRequestHeader();
            ack.setConsumerGroup("audit");
            ack.setTopic("events");
            ack.setQueueId(0);
            ack.setOffset(message.getQueueOffset());
            ack.setExtraInfo(message.getProperty(MessageConst.PROPERTY_POP_CK));
            CompletableFuture<AckResult> done = new CompletableFuture<>();
            api.ackMessageAsync(broker.getBrokerAddr(), 5_000, new AckCallback() {
                @Override
                public void onSuccess(AckResult result) {
                    done.complete(result);
                }

                @Override
                public void onException(Throwable failure) {
                    done.completeExceptionally(failure);
                }
            }, ack);
            done.get();
        }
    }

    /** What is called "open" stays so, what is called "rolled back" is, and everything else is committed. */
    private static final class Answers implements TransactionListener {
        private final List<String> checked;

        private Answers(List<String> checked) {
            this.checked = checked;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object state) {
            return LocalTransactionState.UNKNOW;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            String body = new String(message.getBody(), StandardCharsets.UTF_8);
            synchronized (checked) {
                checked.add(body);
            }
            if (message.getTopic().equals("deals") && body.endsWith("open")) {
                return LocalTransactionState.UNKNOW;
            }
            return body.endsWith("rolled back") ? LocalTransactionState.ROLLBACK_MESSAGE : LocalTransactionState.COMMIT_MESSAGE;
        }
    }

    /** Answers what it is asked about, until each was asked and nothing was for a while. */
    private void answerChecks(String topic, int count, Message... halves) throws Exception {
        List<String> checked = new ArrayList<>();
        TransactionMQProducer producer = transactionProducer(topic, new Answers(checked));
        for (Message half : halves) {
            producer.sendMessageInTransaction(half, null);
        }
        while (true) {
            synchronized (checked) {
                if (checked.stream().distinct().count() >= count) {
                    break;
                }
            }
            Thread.sleep(50);
        }
        Thread.sleep(2_000);
        producer.shutdown();
        checked.stream().distinct().sorted().forEach(body -> System.out.println("checked " + body));
    }

    private TransactionMQProducer transactionProducer(String topic, TransactionListener listener) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer("shop");
        producer.setNamesrvAddr(namesAddress);
        producer.setTransactionListener(listener);
        producer.start();
        // A producer that never sent is unknown to the broker until its next heartbeat.
        producer.getDefaultMQProducerImpl().getMqClientFactory().updateTopicRouteInfoFromNameServer(topic);
        producer.getDefaultMQProducerImpl().getMqClientFactory().sendHeartbeatToAllBrokerWithLock();
        return producer;
    }

    /** What every queue holds, as a client sees it, and where the groups are. */
    private void say() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("readers");
        consumer.setNamesrvAddr(namesAddress);
        consumer.start();
        for (String topic : topics) {
            List<MessageQueue> queues = new ArrayList<>(consumer.fetchSubscribeMessageQueues(topic));
            queues.sort(Comparator.naturalOrder());
            for (MessageQueue queue : queues) {
                long offset = consumer.minOffset(queue);
                long end = consumer.maxOffset(queue);
                while (offset < end) {
                    PullResult pulled = consumer.pull(queue, "*", offset, 32);
                    require(pulled.getPullStatus() == PullStatus.FOUND, "a message at " + offset + " of " + queue);
                    for (MessageExt message : pulled.getMsgFoundList()) {
                        say(message);
                    }
                    offset = pulled.getNextBeginOffset();
                }
            }
        }
        for (String group : GROUPS) {
            for (String topic : topics) {
                for (int queue = 0; queue < 4; queue++) {
                    long offset = broker.getConsumerOffsetManager().queryOffset(group, topic, queue);
                    if (offset >= 0) {
                        System.out.println("committed " + group + " " + topic + " " + queue + " " + offset);
                    }
                }
            }
        }
    }

    private static void say(MessageExt message) {
        String body = HexFormat.of().formatHex(message.getBody());
        String keys = message.getKeys() == null ? "-" : message.getKeys().replace(' ', ',');
        String tag = message.getTags() == null ? "-" : message.getTags();
        System.out.println("message " + message.getTopic() + " " + message.getQueueId() + " " + message.getQueueOffset() + " "
            + message.getCommitLogOffset() + " " + message.getStoreTimestamp() + " " + tag + " " + keys + " " + body);
    }

    private static int freePort() throws Exception {
        // The broker takes the port two below as well.
        while (true) {
            try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"));
                ServerSocket below = new ServerSocket(socket.getLocalPort() - 2, 1, InetAddress.getByName("127.0.0.1"))) {
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
