"""Sends two messages with a delivery time and recalls one; prints when the other is due, in milliseconds."""
import sys
import time

from rocketmq import ClientConfiguration, Credentials, Message, Producer

producer = Producer(ClientConfiguration(sys.argv[1], Credentials()), ("t",))
producer.startup()


def send(body, ahead):
    message = Message()
    message.topic, message.body = "t", body
    message.delivery_timestamp = int(time.time()) + ahead
    return message.delivery_timestamp, producer.send(message)


due, _ = send(b"kept", 4)
_, receipt = send(b"recalled", 4)
producer.recall_message("t", receipt.recall_handle)
print(due * 1000)
producer.shutdown()
