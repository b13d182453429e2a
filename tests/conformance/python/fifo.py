"""Sends message groups in order and consumes them by push; prints `group number` in the order of consumption. The listener
fails for every message whose body ends with `bad`."""
import sys
import threading

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener,
                      Producer, PushConsumer)

endpoints, consumer_group, groups, each = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
config = ClientConfiguration(endpoints, Credentials())
producer = Producer(config, ("t",))
producer.startup()
for number in range(each):
    for group in range(groups):
        message = Message()
        message.topic, message.message_group = "t", f"group{group}"
        is_bad = group == 0 and number == 1
        message.body = f"{group} {number}{' bad' if is_bad else ''}".encode()
        producer.send(message)
producer.shutdown()

consumed, lock, done = [], threading.Lock(), threading.Event()


class Listener(MessageListener):
    def consume(self, message):
        body = message.body.decode()
        with lock:
            consumed.append(body)
            if sum(not line.endswith("bad") for line in consumed) >= groups * each - 1:
                done.set()
        return ConsumeResult.FAILURE if body.endswith("bad") else ConsumeResult.SUCCESS


consumer = PushConsumer(config, consumer_group, Listener(), {"t": FilterExpression("*")})
consumer.startup()
if not done.wait(120):
    sys.exit(f"only {consumed} came")
# Acks are sent behind the listener's back: shutdown waits for them.
consumer.shutdown()
print("\n".join(consumed))
