//! Does with RocketMQ's official Rust client what it is told, a JSON object a line, and tells what it saw: it judges nothing.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rocketmq::conf::{ClientOption, ProducerOption, SimpleConsumerOption};
use rocketmq::error::ClientError;
use rocketmq::model::common::{FilterExpression, FilterType};
use rocketmq::model::message::{Message, MessageBuilder, MessageView};
use rocketmq::model::transaction::{Transaction as _, TransactionResolution};
use rocketmq::{Producer, SimpleConsumer};
use serde_json::{Value, json};

#[derive(Default)]
struct Driver {
    at: Value,
    producer: Option<Producer>,
    consumer: Option<(SimpleConsumer, String, FilterExpression)>,
    received: HashMap<String, MessageView>,
}

fn say(saw: &str, mut more: Value) {
    more["saw"] = saw.into();
    println!("{more}");
}

/// The client keeps the name of the server's code among what it says about an error.
fn refusal(error: &ClientError) -> Value {
    let code = error.context().iter().find(|(name, _)| *name == "code").map(|(_, code)| code.clone());
    json!({"code": code, "error": error.to_string()})
}

fn text(step: &Value, name: &str) -> String {
    step[name].as_str().unwrap_or_default().to_string()
}

fn message_of(step: &Value, is_half: bool) -> Result<impl Message, ClientError> {
    let body = BASE64.decode(text(step, "body")).expect("base64");
    let mut builder = MessageBuilder::builder().set_topic(text(step, "topic")).set_body(body);
    if let Some(tag) = step["tag"].as_str() {
        builder = builder.set_tag(tag);
    }
    if let Some(keys) = step["keys"].as_array() {
        builder = builder.set_keys(keys.iter().filter_map(Value::as_str).collect());
    }
    if let Some(properties) = step["properties"].as_object() {
        builder =
            builder.set_properties(properties.iter().map(|(name, value)| (name, value.as_str().unwrap())).collect());
    }
    if let Some(group) = step["messageGroup"].as_str() {
        builder = builder.set_message_group(group);
    }
    if let Some(at) = step["deliverAt"].as_i64() {
        builder = builder.set_delivery_timestamp(at / 1_000);
    }
    if is_half {
        builder = builder.enable_transaction();
    }
    builder.build()
}

fn seen(message: &MessageView) -> Value {
    json!({
        "id": message.message_id(), "topic": message.topic(), "body": BASE64.encode(message.body()), "tag": message.tag(),
        "keys": message.keys(), "properties": message.properties(), "messageGroup": message.message_group(),
        "attempt": message.delivery_attempt(),
    })
}

fn check(_transaction_id: String, message: MessageView) -> TransactionResolution {
    let answer = message.properties().get("answer").cloned();
    let mut told = seen(&message);
    told["answer"] = json!(answer);
    say("asked", told);
    if answer.as_deref() == Some("commit") { TransactionResolution::COMMIT } else { TransactionResolution::ROLLBACK }
}

impl Driver {
    fn client_option(&self) -> ClientOption {
        let mut option = ClientOption::default();
        option.set_access_url(text(&self.at, "endpoints"));
        option.set_enable_tls(self.at["tls"] == true);
        if let (Some(key), Some(secret)) = (self.at["accessKey"].as_str(), self.at["accessSecret"].as_str()) {
            option.set_access_key(key);
            option.set_secret_key(secret);
        }
        option
    }

    async fn act(&mut self, step: &Value) -> Result<(), ClientError> {
        match &*text(step, "do") {
            "producer" => self.producer(step).await,
            "send" => self.send(step).await,
            "transaction" => self.transaction(step).await,
            "simple" => self.simple(step).await,
            "receive" => self.receive(step).await,
            "ack" => self.ack(step).await,
            "close" => self.close().await,
            other => panic!("this client has no {other}"),
        }
    }

    async fn producer(&mut self, step: &Value) -> Result<(), ClientError> {
        let mut option = ProducerOption::default();
        option.set_topics(step["topics"].as_array().unwrap().iter().filter_map(Value::as_str).collect());
        let mut producer = match step["checker"] == true {
            true => Producer::new_transaction_producer(option, self.client_option(), Box::new(check))?,
            false => Producer::new(option, self.client_option())?,
        };
        producer.start().await?;
        self.producer = Some(producer);
        Ok(())
    }

    async fn send(&mut self, step: &Value) -> Result<(), ClientError> {
        let producer = self.producer.as_ref().expect("a producer");
        if step["batch"] == true {
            let given = step["messages"].as_array().unwrap().iter();
            let messages = given.map(|message| message_of(message, false)).collect::<Result<Vec<_>, _>>()?;
            for (number, receipt) in producer.batch_send(messages).await?.iter().enumerate() {
                say("sent", json!({"number": number, "id": receipt.message_id()}));
            }
            return Ok(());
        }
        for (number, given) in step["messages"].as_array().unwrap().iter().enumerate() {
            let sent = match message_of(given, false) {
                Ok(message) => producer.send(message).await,
                Err(error) => Err(error),
            };
            let (saw, mut told) = match &sent {
                Ok(receipt) => ("sent", json!({"id": receipt.message_id()})),
                Err(error) => ("refused", refusal(error)),
            };
            told["number"] = number.into();
            say(saw, told);
        }
        Ok(())
    }

    async fn transaction(&mut self, step: &Value) -> Result<(), ClientError> {
        let message = message_of(&step["message"], true)?;
        let begun = self.producer.as_ref().expect("a producer").send_transaction_message(message).await?;
        say("sent", json!({"id": begun.message_id()}));
        match step["end"].as_str() {
            Some("commit") => begun.commit().await,
            Some("rollback") => begun.rollback().await,
            _ => Ok(()),
        }
    }

    async fn simple(&mut self, step: &Value) -> Result<(), ClientError> {
        let mut option = SimpleConsumerOption::default();
        option.set_consumer_group(text(step, "group"));
        option.set_topics(vec![text(step, "topic")]);
        let mut client_option = self.client_option();
        client_option.set_long_polling_timeout(Duration::from_millis(step["awaitMs"].as_u64().unwrap_or(5_000)));
        let mut consumer = SimpleConsumer::new(option, client_option)?;
        consumer.start().await?;
        let filter = &step["filter"];
        let kind = if filter["type"] == "sql92" { FilterType::Sql } else { FilterType::Tag };
        let wanted = FilterExpression::new(kind, filter["expression"].as_str().unwrap_or("*"));
        self.consumer = Some((consumer, text(step, "topic"), wanted));
        Ok(())
    }

    async fn receive(&mut self, step: &Value) -> Result<(), ClientError> {
        let (consumer, topic, wanted) = self.consumer.as_ref().expect("a consumer");
        let max = step["max"].as_i64().unwrap_or(32) as i32;
        let invisible = Duration::from_millis(step["invisibleMs"].as_u64().unwrap_or(30_000));
        for message in consumer.receive_with(topic, wanted, max, invisible).await? {
            say("received", seen(&message));
            self.received.insert(message.message_id().to_string(), message);
        }
        Ok(())
    }

    async fn ack(&mut self, step: &Value) -> Result<(), ClientError> {
        let (consumer, ..) = self.consumer.as_ref().expect("a consumer");
        for id in step["ids"].as_array().unwrap().iter().filter_map(Value::as_str) {
            consumer.ack(&self.received[id]).await?;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), ClientError> {
        if let Some(producer) = self.producer.take() {
            producer.shutdown().await?;
        }
        if let Some((consumer, ..)) = self.consumer.take() {
            consumer.shutdown().await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let at = std::env::args().nth(1).expect("where the server is");
    let mut driver = Driver { at: serde_json::from_str(&at).expect("JSON"), ..Driver::default() };
    for line in std::io::stdin().lock().lines() {
        let step: Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
        match driver.act(&step).await {
            Ok(()) => say("done", json!({})),
            Err(error) => say("failed", refusal(&error)),
        }
    }
}
