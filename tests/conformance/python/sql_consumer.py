"""Receives and acks what an SQL92 expression wants, until so many came and then nothing; prints the bodies."""
import sys

from rocketmq import ClientConfiguration, Credentials, FilterExpression, SimpleConsumer
from rocketmq.grpc_protocol import FilterType

endpoints, group, count, expression = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
wanted = FilterExpression(expression, FilterType.SQL)
consumer = SimpleConsumer(ClientConfiguration(endpoints, Credentials()), group, {"t": wanted}, await_duration=1)
consumer.startup()
bodies = []
while True:
    messages = consumer.receive(32, 60)
    for message in messages:
        bodies.append(message.body.decode())
        consumer.ack(message)
    if len(bodies) >= count and not messages:
        break
for body in sorted(bodies):
    print(body)
consumer.shutdown()
