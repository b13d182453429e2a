"""Commits one transaction, rolls one back and leaves two open; the checker commits the one and rolls the other back. Ends
when it was asked about both."""
import sys
import threading

from rocketmq import (ClientConfiguration, Credentials, Message, Producer, TransactionChecker, TransactionResolution)

asked, lock, done = {}, threading.Lock(), threading.Event()


class Checker(TransactionChecker):
    def check(self, message):
        body = message.body.decode()
        with lock:
            asked[body] = message.properties.get("region")
            if len(asked) == 2:
                done.set()
        return TransactionResolution.COMMIT if body == "answered yes" else TransactionResolution.ROLLBACK


producer = Producer(ClientConfiguration(sys.argv[1], Credentials()), ("t",), checker=Checker())
producer.startup()


def send(body):
    message = Message()
    message.topic, message.body = "t", body.encode()
    message.add_property("region", "eu")
    transaction = producer.begin_transaction()
    producer.send(message, transaction)
    return transaction


send("committed").commit()
send("rolled back").rollback()
send("answered yes")
send("answered no")
if not done.wait(60):
    sys.exit(f"asked only about {asked}")
if set(asked.values()) != {"eu"}:
    sys.exit(f"the messages asked about are not those sent: {asked}")
producer.shutdown()
