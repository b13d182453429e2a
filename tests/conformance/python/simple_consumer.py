"""Receives and acks until so many different messages came; prints `id sha256` of each."""
import hashlib
import sys

from rocketmq import ClientConfiguration, Credentials, FilterExpression, SimpleConsumer

endpoints, group, count = sys.argv[1], sys.argv[2].removesuffix(".py"), int(sys.argv[3])
consumer = SimpleConsumer(ClientConfiguration(endpoints, Credentials()), group, {"t": FilterExpression("all")})
consumer.startup()
seen = {}
while len(seen) < count:
    for message in consumer.receive(32, 60):
        seen[message.message_id] = hashlib.sha256(message.body).hexdigest()
        consumer.ack(message)
for message_id, digest in seen.items():
    print(message_id, digest)
consumer.shutdown()
