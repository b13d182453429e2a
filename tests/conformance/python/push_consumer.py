"""Consumes by push until so many different messages came; prints `id sha256` of each."""
import hashlib
import sys
import threading

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, MessageListener, PushConsumer)

endpoints, group, count = sys.argv[1], sys.argv[2].removesuffix(".py"), int(sys.argv[3])
seen, lock, done = {}, threading.Lock(), threading.Event()


class Listener(MessageListener):
    def consume(self, message):
        with lock:
            seen[message.message_id] = hashlib.sha256(message.body).hexdigest()
            if len(seen) >= count:
                done.set()
        return ConsumeResult.SUCCESS


consumer = PushConsumer(ClientConfiguration(endpoints, Credentials()), group, Listener(), {"t": FilterExpression("all")})
consumer.startup()
if not done.wait(300):
    sys.exit(f"only {len(seen)} of {count} messages came")
# Acks are sent behind the listener's back: shutdown waits for them.
consumer.shutdown()
for message_id, digest in seen.items():
    print(message_id, digest)
