//! The clients whose Telemetry streams end here, and asking them something: the one thing that a gateway knows for
//! itself. Losing it loses no message; a client opens its stream again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_proto::grpc::v2;
use tokio::sync::{mpsc, oneshot};
use v2::TelemetryCommand;
use v2::telemetry_command::Command;

use super::caller::Caller;
use crate::error::GatewayError;

/// Official clients answer at once, or never.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Commands on their way to one client.
const COMMANDS_MAX: usize = 16;

#[derive(Default)]
pub struct Clients {
    streams: Mutex<BTreeMap<String, Stream>>,
    next_stream: AtomicU64,
    /// Who waits for an answer, by the nonce of the question.
    waiting: Mutex<HashMap<String, oneshot::Sender<TelemetryCommand>>>,
    next_nonce: AtomicU64,
}

struct Stream {
    number: u64,
    known: Known,
    /// Boxed: a channel keeps room for several, and there may be many streams.
    commands: mpsc::Sender<Box<TelemetryCommand>>,
}

/// A client with an open stream.
#[derive(Debug, Clone)]
pub struct Known {
    pub caller: Caller,
    /// The last settings that it sent.
    pub settings: Option<v2::Settings>,
}

impl Known {
    pub fn subscription(&self) -> Option<&v2::Subscription> {
        match self.settings.as_ref()?.pub_sub.as_ref()? {
            v2::settings::PubSub::Subscription(subscription) => Some(subscription),
            v2::settings::PubSub::Publishing(_) => None,
        }
    }
}

/// A place in the list of streams; leaves it when dropped.
pub struct Place {
    clients: Arc<Clients>,
    client_id: String,
    number: u64,
    commands: mpsc::Receiver<Box<TelemetryCommand>>,
}

impl Clients {
    /// The client's newest stream is the one that is asked.
    pub fn enter(self: &Arc<Self>, caller: Caller) -> Place {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let number = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let client_id = caller.client_id.clone();
        let stream = Stream { number, known: Known { caller, settings: None }, commands: sender };
        self.streams.lock().expect("no code panics while holding it").insert(client_id.clone(), stream);
        Place { clients: self.clone(), client_id, number, commands }
    }

    pub fn all(&self) -> Vec<Known> {
        let streams = self.streams.lock().expect("no code panics while holding it");
        streams.values().map(|stream| stream.known.clone()).collect()
    }

    /// Sends what `command` makes of a nonce, and waits for the answer that bears it.
    pub async fn ask(
        &self,
        client_id: &str,
        command: impl FnOnce(String) -> Command,
    ) -> Result<TelemetryCommand, GatewayError> {
        let offline = || GatewayError::ClientNotOnline { client_id: client_id.to_string() };
        let commands = {
            let streams = self.streams.lock().expect("no code panics while holding it");
            streams.get(client_id).ok_or_else(offline)?.commands.clone()
        };
        let nonce = format!("gantry-{}", self.next_nonce.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().expect("no code panics while holding it").insert(nonce.clone(), answer);
        let status = Some(super::status::ok());
        let command = TelemetryCommand { status, command: Some(command(nonce.clone())) };
        let asked = commands.try_send(Box::new(command));
        let answer = match asked {
            Ok(()) => tokio::time::timeout(ANSWER_MAX, answered).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        self.waiting.lock().expect("no code panics while holding it").remove(&nonce);
        answer.ok_or(GatewayError::DeadlineExceeded { budget: ANSWER_MAX })
    }

    /// A frame that may be the answer to something.
    pub fn answered(&self, frame: TelemetryCommand) {
        let nonce = match &frame.command {
            Some(Command::ThreadStackTrace(trace)) => &trace.nonce,
            Some(Command::VerifyMessageResult(result)) => &result.nonce,
            // One client answers in the words of the question.
            Some(Command::VerifyMessageCommand(command)) => &command.nonce,
            _ => return,
        };
        let waiting = self.waiting.lock().expect("no code panics while holding it").remove(nonce);
        if let Some(waiting) = waiting {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(frame);
        }
    }
}

impl Place {
    pub fn has_settings(&self, settings: &v2::Settings) {
        let mut streams = self.clients.streams.lock().expect("no code panics while holding it");
        if let Some(stream) = streams.get_mut(&self.client_id).filter(|stream| stream.number == self.number) {
            stream.known.settings = Some(settings.clone());
        }
    }

    /// The next command for this client. Dropping the future loses nothing.
    pub async fn command(&mut self) -> TelemetryCommand {
        match self.commands.recv().await {
            Some(command) => *command,
            // A newer stream of the same client has taken the place: this one is asked nothing more.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.clients.streams.lock().expect("no code panics while holding it");
        if streams.get(&self.client_id).is_some_and(|stream| stream.number == self.number) {
            streams.remove(&self.client_id);
        }
    }
}
