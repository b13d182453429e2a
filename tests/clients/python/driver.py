"""Does with RocketMQ's official Python client what it is told, a JSON object a line, and tells what it saw: it judges nothing."""
import base64
import json
import sys
import threading

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener, Producer,
                      PushConsumer, SimpleConsumer, TransactionChecker, TransactionResolution)
from rocketmq.grpc_protocol import FilterType

at = json.loads(sys.argv[1])
config = ClientConfiguration(at["endpoints"], Credentials(at.get("accessKey"), at.get("accessSecret")))
tls = at.get("tls", False)
running, received, tries = [], {}, {}
producer = consumer = None
tongue = threading.Lock()


def say(saw, **what):
    with tongue:
        print(json.dumps({"saw": saw, **what}), flush=True)


def refusal(error):
    code = getattr(error, "code", None)
    return {"code": code if isinstance(code, int) else None, "error": f"{type(error).__name__}: {error}"}


def started(client):
    client.startup()
    running.append(client)
    return client


def message_of(step):
    message = Message()
    message.topic, message.body = step["topic"], base64.b64decode(step["body"])
    if "tag" in step:
        message.tag = step["tag"]
    for key in step.get("keys", []):
        message.keys = key
    for name, value in step.get("properties", {}).items():
        message.add_property(name, value)
    if "messageGroup" in step:
        message.message_group = step["messageGroup"]
    if "deliverAt" in step:
        message.delivery_timestamp = step["deliverAt"] // 1000
    return message


def seen(message):
    return {"id": message.message_id, "topic": message.topic, "body": base64.b64encode(message.body).decode(),
            "tag": message.tag, "keys": sorted(message.keys or []), "properties": dict(message.properties or {}),
            "messageGroup": message.message_group, "attempt": message.delivery_attempt}


class Checker(TransactionChecker):
    def check(self, message):
        answer = message.properties.get("answer")
        say("asked", answer=answer, **seen(message))
        return TransactionResolution.COMMIT if answer == "commit" else TransactionResolution.ROLLBACK


class Listener(MessageListener):
    def __init__(self, name):
        self.name = name

    def consume(self, message):
        with tongue:
            count = tries[message.message_id] = tries.get(message.message_id, 0) + 1
        say("consumed", consumer=self.name, **seen(message))
        fails = count <= int(message.properties.get("fail", "0"))
        return ConsumeResult.FAILURE if fails else ConsumeResult.SUCCESS


def subscription(step):
    given = step.get("filter", {"type": "tag", "expression": "*"})
    kind = FilterType.SQL if given["type"] == "sql92" else FilterType.TAG
    return {step["topic"]: FilterExpression(given["expression"], kind)}


def start_producer(step):
    global producer
    checker = Checker() if step.get("checker") else None
    producer = started(Producer(config, tuple(step["topics"]), checker, tls))


def send(step):
    for number, given in enumerate(step["messages"]):
        try:
            message = message_of(given)
            receipt = producer.send_async(message).result() if step.get("async") else producer.send(message)
            say("sent", number=number, id=receipt.message_id, recallHandle=receipt.recall_handle)
        except Exception as error:
            say("refused", number=number, **refusal(error))


def transaction(step):
    begun = producer.begin_transaction()
    say("sent", id=producer.send(message_of(step["message"]), begun).message_id)
    if step.get("end") == "commit":
        begun.commit()
    elif step.get("end") == "rollback":
        begun.rollback()


def recall(step):
    say("recalled", id=producer.recall_message(step["topic"], step["handle"]))


def simple(step):
    global consumer
    wait = step.get("awaitMs", 5000) // 1000
    consumer = started(SimpleConsumer(config, step["group"], subscription(step), wait, tls_enable=tls))


def receive(step):
    of = consumer.receive_async if step.get("async") else consumer.receive
    messages = of(step.get("max", 32), step.get("invisibleMs", 30000) // 1000)
    for message in messages.result() if step.get("async") else messages:
        received[message.message_id] = message
        say("received", **seen(message))


def ack(step):
    for of in step["ids"]:
        # The future that ack_async promises is None.
        consumer.ack_async(received[of]) if step.get("async") else consumer.ack(received[of])


def change(step):
    consumer.change_invisible_duration(received[step["id"]], step["invisibleMs"] // 1000)


def push(step):
    started(PushConsumer(config, step["group"], Listener(step.get("name")), subscription(step), tls_enable=tls))


def close(_):
    while running:
        running.pop().shutdown()


steps = {"producer": start_producer, "send": send, "transaction": transaction, "recall": recall, "simple": simple,
         "receive": receive, "ack": ack, "change": change, "push": push, "close": close}
for line in sys.stdin:
    told = json.loads(line)
    try:
        steps[told["do"]](told)
        say("done")
    except Exception as error:
        say("failed", **refusal(error))
