//! Telemetry: one stream per client, on which it sends its settings now and then and gets them back, merged, and on which
//! producers are asked what became of their transactions.
//!
//! A stream ends when the client closes its side; when the program begins to stop or its connection is too old (a graceful
//! shutdown would wait for it for ever), after a word that says so; or when settings are refused: then after one frame with
//! the refusal, and with a gRPC status, which is what makes the start of an official client fail with a reason instead of
//! hanging.

use std::time::Duration;

use futures_util::stream;
use gantry_proto::grpc::v2;
use tokio::time::Interval;
use tonic::Streaming;
use tonic::codegen::BoxStream;
use v2::TelemetryCommand;
use v2::settings::PubSub;
use v2::telemetry_command::Command;

use super::caller::Caller;
use super::checks::Checks;
use super::clients::Place;
use super::{GrpcFront, status};
use crate::error::GatewayError;
use crate::transport::ConnectionInfo;

/// An open stream is a sign of life, this often: far sooner than its client would count as gone.
const BEAT: Duration = Duration::from_secs(30);

enum Conversation {
    Open(Box<Open>),
    Refused(tonic::Status),
    Over,
}

struct Open {
    front: GrpcFront,
    from_client: Streaming<TelemetryCommand>,
    connection: Option<ConnectionInfo>,
    caller: Caller,
    place: Place,
    checks: Checks,
    beat: Interval,
}

impl GrpcFront {
    /// Does not wait for the first frame: some clients wait for the response headers.
    pub(super) fn converse(
        &self,
        from_client: Streaming<TelemetryCommand>,
        connection: Option<ConnectionInfo>,
        caller: Caller,
    ) -> BoxStream<TelemetryCommand> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (place, checks) = (self.clients.enter(caller.clone()), Checks::new(self.clone()));
        let open = Open { front: self.clone(), from_client, connection, caller, place, checks, beat };
        Box::pin(stream::unfold(Conversation::Open(Box::new(open)), |conversation| async move {
            match conversation {
                Conversation::Open(open) => open.reply().await,
                // A refusal's frame has been sent: its status is the last item.
                Conversation::Refused(status) => Some((Err(status), Conversation::Over)),
                Conversation::Over => None,
            }
        }))
    }
}

impl Open {
    /// The next frame to the client, or `None` at the end.
    async fn reply(mut self: Box<Self>) -> Option<(Result<TelemetryCommand, tonic::Status>, Conversation)> {
        loop {
            let frame = tokio::select! {
                biased;
                () = self.front.messaging.drained() => return reconnect("the server stops"),
                () = is_old(&self.connection) => return reconnect("the connection is old"),
                frame = self.from_client.message() => frame,
                check = self.checks.next() => return Some((Ok(check), Conversation::Open(self))),
                command = self.place.command() => return Some((Ok(command), Conversation::Open(self))),
                _ = self.beat.tick() => {
                    self.front.messaging.lives(self.caller.client_id.as_bytes());
                    continue;
                }
            };
            let frame = match frame {
                Ok(Some(frame)) => frame,
                // The client has closed its side.
                Ok(None) => return None,
                // It is gone, or what it says is no message.
                Err(status) => return Some((Err(status), Conversation::Over)),
            };
            let settings = match frame.command {
                Some(Command::Settings(settings)) => settings,
                _ => {
                    self.front.clients.answered(frame);
                    continue;
                }
            };
            let merged = match self.front.merged(settings, self.caller.is_node).await {
                Ok(settings) => self.watch(&settings).await.map(|()| settings),
                Err(error) => Err(error),
            };
            return Some(match merged {
                Ok(settings) => {
                    self.place.has_settings(&settings);
                    let command = Some(Command::Settings(settings));
                    (Ok(TelemetryCommand { status: Some(status::ok()), command }), Conversation::Open(self))
                }
                Err(error) => refused(&error),
            });
        }
    }
}

impl Open {
    async fn watch(&mut self, settings: &v2::Settings) -> Result<(), GatewayError> {
        match &settings.pub_sub {
            Some(PubSub::Publishing(publishing)) => self.checks.watch(&publishing.topics).await,
            _ => Ok(()),
        }
    }
}

async fn is_old(connection: &Option<ConnectionInfo>) {
    match connection {
        Some(connection) => connection.is_old().await,
        None => std::future::pending().await,
    }
}

/// The last word before a connection ends: clients that heed it go elsewhere at once, instead of finding out.
fn reconnect(why: &str) -> Option<(Result<TelemetryCommand, tonic::Status>, Conversation)> {
    let command = Command::ReconnectEndpointsCommand(v2::ReconnectEndpointsCommand { nonce: why.to_string() });
    Some((Ok(TelemetryCommand { status: Some(status::ok()), command: Some(command) }), Conversation::Over))
}

/// A stream that was never opened.
pub fn refusal(error: &GatewayError) -> BoxStream<TelemetryCommand> {
    let (frame, Conversation::Refused(status)) = refused(error) else { unreachable!("a refusal is one") };
    Box::pin(stream::iter([frame, Err(status)]))
}

fn refused(error: &GatewayError) -> (Result<TelemetryCommand, tonic::Status>, Conversation) {
    let status = status::refused(error);
    let code =
        if (40_000..50_000).contains(&status.code) { tonic::Code::InvalidArgument } else { tonic::Code::Internal };
    let transport = tonic::Status::new(code, status.message.clone());
    (Ok(TelemetryCommand { status: Some(status), command: None }), Conversation::Refused(transport))
}
