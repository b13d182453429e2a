//! Which version of a configuration a request is about: ETags, and the conditions that name them. And what a put comes
//! to, which is the same for everything that can be put.

use std::collections::BTreeMap;

use axum::response::{IntoResponse as _, Response};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{ConsumerGroupDescription, PutWhen, Topic};
use gantry_broker_core::offset::Incarnation;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::offsets::DRY_RUN;
use super::request::json;
use super::topics::field_of;
use crate::error::GatewayError;

/// One version of a topic's or a consumer group's configuration.
#[derive(Debug, Clone)]
pub(super) struct Version {
    name: String,
    incarnation: Incarnation,
    version: u64,
}

impl From<&Topic> for Version {
    fn from(topic: &Topic) -> Version {
        let Topic { config, incarnation, version, .. } = topic;
        Version { name: config.topic.to_string(), incarnation: *incarnation, version: *version }
    }
}

impl From<&ConsumerGroupDescription> for Version {
    fn from(group: &ConsumerGroupDescription) -> Version {
        let ConsumerGroupDescription { config, incarnation, version, .. } = group;
        Version { name: config.consumer_group.to_string(), incarnation: *incarnation, version: *version }
    }
}

impl Version {
    fn etag(&self) -> String {
        etag(self.incarnation, self.version)
    }

    /// One of a caller's ETags stands for this version; the broker compares it once more when it puts. A weak ETag
    /// stands for none (RFC 9110, 13.1.1).
    fn when_claimed(&self, claimed: &str) -> Result<PutWhen, GatewayError> {
        if claimed.split(',').any(|claimed| claimed.trim() == self.etag()) {
            return Ok(PutWhen::Version(self.incarnation, self.version));
        }
        let Version { name, incarnation, version } = self.clone();
        Err(BrokerError::VersionMismatch { name, incarnation, version }.into())
    }

    fn label(&self, mut response: Response) -> Response {
        response.headers_mut().insert(header::ETAG, etag_header(self.incarnation, self.version));
        response
    }
}

fn etag(incarnation: Incarnation, version: u64) -> String {
    format!("\"{:x}-{version:x}\"", incarnation.0)
}

pub(super) fn etag_header(incarnation: Incarnation, version: u64) -> HeaderValue {
    HeaderValue::from_str(&etag(incarnation, version)).expect("hex digits in quotes")
}

/// What `If-None-Match` and `If-Match` ask for.
enum Condition<'a> {
    When(PutWhen),
    Etags(&'a str),
}

fn condition(headers: &HeaderMap) -> Result<Condition<'_>, GatewayError> {
    let text = |name| {
        let malformed = || GatewayError::MalformedRequest { reason: format!("{name} cannot be read") };
        headers.get(&name).map(|value: &HeaderValue| value.to_str().map_err(|_| malformed())).transpose()
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::When(PutWhen::Unconditional)),
        (None, Some("*")) => Ok(Condition::When(PutWhen::Missing)),
        (Some("*"), None) => Ok(Condition::When(PutWhen::Exists)),
        (Some(etags), None) => Ok(Condition::Etags(etags)),
        (Some(_), Some(_)) => {
            Err(GatewayError::MalformedRequest { reason: "give If-Match or If-None-Match, not both".into() })
        }
        (None, Some(_)) => Err(GatewayError::MalformedRequest { reason: "a PUT knows only 'If-None-Match: *'".into() }),
    }
}

/// What must hold for a put. What is there is asked for only if the request names its ETag.
pub(super) async fn put_when(
    headers: &HeaderMap,
    known: impl Future<Output = Result<Version, BrokerError>>,
) -> Result<PutWhen, GatewayError> {
    match condition(headers)? {
        Condition::When(when) => Ok(when),
        Condition::Etags(etags) => known.await?.when_claimed(etags),
    }
}

/// What must hold for a patch: `If-Match` must be there. It is laid over this version alone, with `*` too.
pub(super) fn patch_when(headers: &HeaderMap, known: &Version) -> Result<PutWhen, GatewayError> {
    match condition(headers)? {
        Condition::When(PutWhen::Exists) => Ok(PutWhen::Version(known.incarnation, known.version)),
        Condition::Etags(etags) => known.when_claimed(etags),
        Condition::When(PutWhen::Unconditional) => {
            Err(BrokerError::VersionRequired { name: known.name.clone() }.into())
        }
        Condition::When(_) => Err(GatewayError::MalformedRequest { reason: "a PATCH knows only If-Match".into() }),
    }
}

/// The answer to a get: nothing new if `If-None-Match` names what would be answered.
pub(super) fn described(headers: &HeaderMap, version: &Version, shown: &impl Serialize) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = |known: &str| known == "*" || known.trim_start_matches("W/") == version.etag();
    let is_known = known.split(',').map(str::trim).any(is_known);
    version.label(if is_known { StatusCode::NOT_MODIFIED.into_response() } else { json(StatusCode::OK, shown) })
}

/// Says which field of the body it is that the broker found wrong.
pub(super) fn put_refused(error: BrokerError) -> GatewayError {
    match error {
        BrokerError::InvalidParameter { name, .. } => GatewayError::from(error).at_field(field_of(name)),
        error => error.into(),
    }
}

/// What a put answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PutAnswer<T> {
    /// As it is now, or with `dryRun` as it would be.
    #[serde(flatten)]
    shown: T,
    /// With `dryRun` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
}

/// What a put would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PutPlan)]
struct Plan {
    /// It does not exist yet.
    creates: bool,
    /// By field; nothing, if it is so already.
    changes: BTreeMap<String, Change>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PutChange)]
struct Change {
    /// Null where there is nothing yet.
    from: Value,
    to: Value,
}

/// The answer to a put that was done.
pub(super) fn put_done<T: Serialize>(version: &Version, created: bool, shown: T) -> Response {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    version.label(json(status, &PutAnswer { shown, plan: None }))
}

/// The answer to a put that only says what it would do.
pub(super) fn put_planned<T: Serialize>(before: Option<T>, shown: T) -> Response {
    let fields = |shown: &T| match serde_json::to_value(shown) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a configuration is shown as an object"),
    };
    let before = before.as_ref().map(fields);
    let change = |(name, to): (String, Value)| {
        let from = before.as_ref().and_then(|before| before.get(&name)).cloned().unwrap_or_default();
        (from != to).then_some((name, Change { from, to }))
    };
    let plan = Plan { creates: before.is_none(), changes: fields(&shown).into_iter().filter_map(change).collect() };
    let mut response = json(StatusCode::OK, &PutAnswer { shown, plan: Some(plan) });
    response.headers_mut().insert(DRY_RUN, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::error_table::answer;

    fn version(incarnation: u64, version: u64) -> Version {
        Version { name: "t".into(), incarnation: Incarnation(incarnation), version }
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn etags_are_compared_strongly_for_a_put_and_weakly_for_a_get() {
        let known = version(0x90, 3);
        let same = PutWhen::Version(Incarnation(0x90), 3);
        assert_eq!(known.when_claimed("\"90-3\"").unwrap(), same);
        assert_eq!(known.when_claimed("\"90-2\", \"90-3\"").unwrap(), same);
        for stale in ["\"90-2\"", "W/\"90-3\"", "90-3", "\"91-3\"", ""] {
            assert_eq!(answer(&known.when_claimed(stale).unwrap_err()).code, "etag_mismatch", "{stale}");
        }
        let got = |known: Version, headers| described(&headers, &known, &1).status().as_u16();
        assert_eq!(got(version(0x90, 3), HeaderMap::new()), 200);
        assert_eq!(got(version(0x90, 3), headers(&[(header::IF_NONE_MATCH, "W/\"90-3\"")])), 304);
        assert_eq!(got(version(0x90, 4), headers(&[(header::IF_NONE_MATCH, "W/\"90-3\"")])), 200);
    }

    #[tokio::test]
    async fn a_put_has_one_condition() {
        let of = async |pairs: &[(header::HeaderName, &'static str)]| {
            put_when(&headers(pairs), async { Ok(version(1, 1)) }).await
        };
        assert!(matches!(of(&[]).await, Ok(PutWhen::Unconditional)));
        assert!(matches!(of(&[(header::IF_MATCH, "*")]).await, Ok(PutWhen::Exists)));
        assert!(matches!(of(&[(header::IF_NONE_MATCH, "*")]).await, Ok(PutWhen::Missing)));
        assert!(matches!(of(&[(header::IF_MATCH, "\"1-1\"")]).await, Ok(PutWhen::Version(Incarnation(1), 1))));
        for (wrong, code) in [
            (&[(header::IF_MATCH, "\"1-2\"")][..], "etag_mismatch"),
            (&[(header::IF_NONE_MATCH, "\"1-1\"")], "malformed_request"),
            (&[(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")], "malformed_request"),
        ] {
            assert_eq!(answer(&of(wrong).await.unwrap_err()).code, code, "{wrong:?}");
        }
    }

    #[test]
    fn a_patch_is_laid_over_one_version() {
        let of = |pairs: &[(header::HeaderName, &'static str)]| patch_when(&headers(pairs), &version(1, 1));
        assert!(matches!(of(&[(header::IF_MATCH, "*")]), Ok(PutWhen::Version(Incarnation(1), 1))));
        assert!(matches!(of(&[(header::IF_MATCH, "\"1-1\"")]), Ok(PutWhen::Version(Incarnation(1), 1))));
        for (wrong, code) in [
            (&[][..], "precondition_required"),
            (&[(header::IF_MATCH, "\"2-1\"")], "etag_mismatch"),
            (&[(header::IF_NONE_MATCH, "*")], "malformed_request"),
        ] {
            assert_eq!(answer(&of(wrong).unwrap_err()).code, code, "{wrong:?}");
        }
    }
}
