//! Messages that wait for their delivery time: taking one back.

use axum::extract::State;
use gantry_broker_core::broker::RecallOutcome;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{Query, Segments, json};
use super::{Answer, Shared};

/// What became of a recall.
#[derive(Serialize, ToSchema)]
struct Recalled {
    #[schema(inline)]
    outcome: Outcome,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// It will not be delivered.
    Recalled,
    /// Its time has come.
    AlreadyDelivered,
}

/// Takes a delayed message back before its time
#[utoipa::path(delete, path = "/v1/scheduled/{recallHandle}", tag = "messages", params(("recallHandle" = String, Path, description = "As the publish answered it")), responses((status = 200, description = "Whether it came in time", body = Recalled)))]
pub(super) async fn recall_message(State(state): Shared, Segments(handle): Segments<String>, query: Query) -> Answer {
    query.end()?;
    let outcome = match state.messaging.recall(&state.broker_name, &handle).await? {
        RecallOutcome::Recalled => Outcome::Recalled,
        RecallOutcome::AlreadyDelivered => Outcome::AlreadyDelivered,
    };
    Ok(json(StatusCode::OK, &Recalled { outcome }))
}
