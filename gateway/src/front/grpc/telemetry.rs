//! Telemetry: one stream per client, on which it sends its settings now and then and gets them back, merged, and on which
//! producers are asked what became of their transactions.
//!
//! A stream ends when the client closes its side, when the program begins to stop (a graceful shutdown would wait for
//! it for ever), or when settings are refused: then after one frame with the refusal, and with a gRPC status, which is
//! what makes the start of an official client fail with a reason instead of hanging.

use futures_util::stream;
use gantry_proto::grpc::v2;
use tonic::Streaming;
use tonic::codegen::BoxStream;
use v2::TelemetryCommand;
use v2::settings::PubSub;
use v2::telemetry_command::Command;

use super::checks::Checks;
use super::{GrpcFront, status};
use crate::error::GatewayError;

enum Conversation {
    Open(Box<Open>),
    Refused(tonic::Status),
}

struct Open {
    front: GrpcFront,
    from_client: Streaming<TelemetryCommand>,
    is_node: bool,
    checks: Checks,
}

impl GrpcFront {
    /// Does not wait for the first frame: some clients wait for the response headers.
    pub(super) fn converse(
        &self,
        from_client: Streaming<TelemetryCommand>,
        is_node: bool,
    ) -> BoxStream<TelemetryCommand> {
        let open = Open { front: self.clone(), from_client, is_node, checks: Checks::new(self.clone()) };
        Box::pin(stream::unfold(Conversation::Open(Box::new(open)), |conversation| async move {
            match conversation {
                Conversation::Open(open) => open.reply().await,
                // A refusal's frame has been sent: its status is the last item.
                Conversation::Refused(status) => Some((Err(status), Conversation::Refused(tonic::Status::ok("")))),
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
                () = self.front.messaging.drained() => return None,
                frame = self.from_client.message() => frame,
                check = self.checks.next() => return Some((Ok(check), Conversation::Open(self))),
            };
            // The client has closed its side, or is gone.
            let Ok(Some(frame)) = frame else { return None };
            // Everything else answers commands of which this server sends none: checks are answered by EndTransaction.
            let Some(Command::Settings(settings)) = frame.command else { continue };
            let merged = match self.front.merged(settings, self.is_node).await {
                Ok(settings) => self.watch(&settings).await.map(|()| settings),
                Err(error) => Err(error),
            };
            return Some(match merged {
                Ok(settings) => {
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
