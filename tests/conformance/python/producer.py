"""Sends so many messages of 1 KiB of random bytes; prints `id sha256` of each that was answered with success."""
import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from rocketmq import ClientConfiguration, Credentials, Message, Producer

endpoints, count = sys.argv[1], int(sys.argv[2])
producer = Producer(ClientConfiguration(endpoints, Credentials()), ("t",))
producer.startup()


def send(_):
    message = Message()
    message.topic, message.body, message.tag = "t", os.urandom(1024), "all"
    receipt = producer.send(message)
    return f"{receipt.message_id} {hashlib.sha256(message.body).hexdigest()}"


with ThreadPoolExecutor(8) as threads:
    for line in threads.map(send, range(count)):
        print(line)
producer.shutdown()
