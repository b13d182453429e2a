//! Every scenario by its name, once, and what some client cannot do of it by its own making.

mod bodies;
mod faults;
mod pushing;
mod quick_start;
mod receiving;
mod refusals;
mod secured;
mod sending;

use crate::languages::Language::{self, *};
use crate::trial::Trial;

pub struct Scenario {
    /// Also the name of its topic and its group.
    pub name: &'static str,
    /// As the table calls it.
    pub title: &'static str,
    pub run: fn(&Trial<'_>),
    pub unsupported: &'static [(Language, &'static str)],
    /// Can the server under test do it at all?
    pub is_built: fn() -> bool,
}

const NO_CHANGE: &[(Language, &str)] = &[(Rust, "cannot change an invisible duration")];
const NO_PUSH: &[(Language, &str)] = &[(Rust, "has no push consumer")];
const ALWAYS_ASYNC: &[(Language, &str)] = &[(Node, ONE_WAY), (Rust, ONE_WAY)];
const ONE_BY_ONE: &str = "sends one message in a call";
const ONE_WAY: &str = "has no other way to send: the row above is asynchronous";

const fn scenario(name: &'static str, title: &'static str, run: fn(&Trial<'_>)) -> Scenario {
    Scenario { name, title, run, unsupported: &[], is_built: || true }
}

impl Scenario {
    const fn except(self, unsupported: &'static [(Language, &'static str)]) -> Scenario {
        Scenario { unsupported, ..self }
    }

    const fn once(self, is_built: fn() -> bool) -> Scenario {
        Scenario { is_built, ..self }
    }

    pub fn why_not(&self, language: Language) -> Option<&'static str> {
        self.unsupported.iter().find(|(of, _)| *of == language).map(|(_, why)| *why)
    }
}

pub const ALL: &[Scenario] = &[
    scenario("quick-start", "the program above, as it stands here", quick_start::paste),
    scenario("send", "send, with tag, keys and properties", sending::normal),
    scenario("send-async", "send, receive and ack, asynchronously", sending::asynchronous).except(ALWAYS_ASYNC),
    scenario("send-batch", "send ten messages in one call", sending::batch).except(&[
        (Java, ONE_BY_ONE),
        (Go, ONE_BY_ONE),
        (Python, ONE_BY_ONE),
        (Node, ONE_BY_ONE),
    ]),
    scenario("send-fifo", "send in message groups", sending::fifo),
    scenario("send-delay", "send with a delivery time", sending::delay),
    scenario("recall", "recall before its time", sending::recall).except(&[(Rust, "cannot recall")]),
    scenario("transaction", "commit and roll back a transaction", sending::transaction),
    scenario("transaction-check", "answer for a transaction left open", sending::transaction_check),
    scenario("receive", "simple consumer: receive and ack", receiving::receive_and_ack),
    scenario("change", "simple consumer: change the invisible duration", receiving::change).except(NO_CHANGE),
    scenario(
        "change-refused",
        "simple consumer: a refused change leaves the receipt as it was",
        receiving::change_refused,
    )
    .except(NO_CHANGE),
    scenario("receive-nothing", "simple consumer: nothing there, said before its deadline", receiving::nothing),
    scenario("receive-tags", "simple consumer: tags", receiving::tags),
    scenario("receive-sql", "simple consumer: SQL92", receiving::sql),
    scenario("push", "push consumer: two share a group", pushing::cluster).except(NO_PUSH),
    scenario("push-retry", "push consumer: again after a failure", pushing::retry).except(NO_PUSH),
    scenario("push-calm", "push consumer: not again before the pause is over", pushing::calm).except(NO_PUSH),
    scenario("push-dead-letter", "push consumer: dead letter after the last attempt", pushing::dead_letter)
        .except(NO_PUSH),
    scenario("push-fifo", "push consumer: message groups in order", pushing::fifo).except(NO_PUSH),
    scenario("push-tags", "push consumer: tags", pushing::tags).except(NO_PUSH),
    scenario("push-sql", "push consumer: SQL92", pushing::sql).except(NO_PUSH),
    scenario("large", "a body of 4,000,000 bytes", bodies::large),
    scenario("compressed", "a compressed body", bodies::compressed),
    scenario("binary", "a body of every byte there is", bodies::binary),
    scenario("unicode", "keys and properties in any script", bodies::unicode),
    scenario("wrong-topic", "refused: a topic that is not there", refusals::topic),
    scenario("wrong-type", "refused: a message that is not of its topic's type", refusals::message_type),
    scenario("wrong-group", "refused: a consumer group that may not be", refusals::group),
    scenario("wrong-property", "refused: a property with a name of the broker's", refusals::property),
    scenario("too-large", "refused: a body above 4 MiB", refusals::too_large),
    scenario("tls", "over TLS", secured::tls)
        .except(&[(Rust, "leaves its TLS configuration out")])
        .once(secured::is_built),
    scenario("credentials", "with an access key, and refused with a wrong secret", secured::credentials)
        .once(secured::is_built),
    scenario("many", "a thousand sent, two thousand received, every byte compared", faults::many),
    scenario("restart", "goes on after a kill and a restart of the server", faults::kill),
    scenario("stop", "goes on after an orderly stop and a start of the server", faults::stop),
    scenario("age", "notices nothing of connections that end at their age", faults::age),
];
