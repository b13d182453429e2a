//! A message written as JSON: its metadata as a draft, and its body in one of three forms.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::draft::{Draft, is_traceparent};
use super::json::{Fields, compact};
use crate::error::GatewayError;

/// What an envelope holds.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) draft: Draft<'a>,
    pub(super) body: Bytes,
}

/// `request` is the whole request: a body that needs no decoding stays a slice of it. The `id` is the caller's to take.
pub(super) fn read<'a>(mut fields: Fields<'a>, request: &Bytes) -> Result<Envelope<'a>, GatewayError> {
    let body = body(&mut fields, request)?;
    let queue = match fields.object("queue")? {
        None => None,
        Some(mut queue) => {
            let broker_name = queue.text("brokerName")?;
            let broker_name = queue.required("brokerName", broker_name)?;
            let queue_id = queue.count("queueId")?;
            let queue_id = queue.required("queueId", queue_id)?;
            queue.end()?;
            Some((broker_name, queue_id))
        }
    };
    let traceparent = fields.text("traceparent")?;
    if traceparent.as_deref().is_some_and(|text| !is_traceparent(text)) {
        return Err(fields.refuse("traceparent", "is no W3C traceparent"));
    }
    let draft = Draft {
        content_type: fields.text("contentType")?,
        tag: fields.text("tag")?,
        keys: fields.texts("keys")?.unwrap_or_default(),
        properties: fields.pairs("properties")?.unwrap_or_default(),
        message_group: fields.text("messageGroup")?,
        delay: fields.duration("delay")?,
        deliver_at: fields.time("deliverAt")?,
        delay_level: fields.integer("delayLevel")?,
        priority: fields.integer("priority")?,
        lite_topic: fields.text("liteTopic")?,
        message_id: fields.text("messageId")?,
        queue,
        traceparent,
        idempotency_key: fields.text("idempotencyKey")?,
        transaction: None,
    };
    fields.end()?;
    Ok(Envelope { draft, body })
}

/// Exactly one of `body`, `bodyBase64` and `bodyJson`.
fn body(fields: &mut Fields<'_>, request: &Bytes) -> Result<Bytes, GatewayError> {
    let (text, base64, written) = (fields.text("body")?, fields.text("bodyBase64")?, fields.written());
    match (text, base64, written) {
        // Both point into the request: no copy.
        (Some(Cow::Borrowed(text)), None, None) => Ok(request.slice_ref(text.as_bytes())),
        (Some(Cow::Owned(text)), None, None) => Ok(text.into()),
        (None, Some(base64), None) => match STANDARD.decode(base64.as_bytes()) {
            Ok(bytes) => Ok(bytes.into()),
            Err(_) => Err(fields.refuse("bodyBase64", "is not base64 in the standard alphabet with padding")),
        },
        (None, None, Some(written)) => Ok(compact(written).into()),
        (None, None, None) => Err(fields.refuse("body", "is missing: give body, bodyBase64 or bodyJson")),
        (None, Some(_), Some(_)) => Err(fields.refuse("bodyJson", "and bodyBase64 are both given: give one")),
        (Some(_), Some(_), _) => Err(fields.refuse("bodyBase64", "and body are both given: give one")),
        (Some(_), None, Some(_)) => Err(fields.refuse("bodyJson", "and body are both given: give one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FieldAt;

    fn envelope(text: &str) -> Result<(Option<String>, Bytes), GatewayError> {
        let request = Bytes::copy_from_slice(text.as_bytes());
        let envelope = read(Fields::parse(&request)?, &request)?;
        Ok((envelope.draft.tag.map(Cow::into_owned), envelope.body))
    }

    #[test]
    fn a_body_has_three_forms() {
        for (text, body) in [
            (r#"{"body":"hi","tag":"t"}"#, &b"hi"[..]),
            (r#"{"body":"h\u0069","tag":"t"}"#, b"hi"),
            (r#"{"bodyBase64":"AP8=","tag":"t"}"#, b"\0\xff"),
            (r#"{"bodyJson":{"b": 1.0, "a": 2},"tag":"t"}"#, br#"{"b":1.0,"a":2}"#),
        ] {
            let (tag, stored) = envelope(text).unwrap();
            assert_eq!(stored, body, "{text}");
            assert_eq!(tag.as_deref(), Some("t"));
        }
    }

    #[test]
    fn a_text_body_is_a_slice_of_the_request() {
        let request = Bytes::from_static(br#"{"body":"hello"}"#);
        let read = read(Fields::parse(&request).unwrap(), &request).unwrap();
        assert_eq!(read.body.as_ptr(), request[9..].as_ptr());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, pointer) in [
            ("{}", "/body"),
            (r#"{"body":"a","bodyBase64":"YQ=="}"#, "/bodyBase64"),
            (r#"{"body":"a","bodyJson":1}"#, "/bodyJson"),
            (r#"{"bodyBase64":"%%"}"#, "/bodyBase64"),
            (r#"{"bodyBase64":"YQ"}"#, "/bodyBase64"),
            (r#"{"body":"a","keys":["k",1]}"#, "/keys"),
            (r#"{"body":"a","properties":{"p":1}}"#, "/properties/p"),
            (r#"{"body":"a","queue":{"brokerName":"b"}}"#, "/queue/queueId"),
            (r#"{"body":"a","queue":{"brokerName":"b","queueId":1,"q":1}}"#, "/queue/q"),
            (r#"{"body":"a","traceparent":"x"}"#, "/traceparent"),
            (r#"{"body":"a","delay":5}"#, "/delay"),
            (r#"{"body":"a","tags":"x"}"#, "/tags"),
        ] {
            let error = envelope(text).unwrap_err();
            assert_eq!(error.at(), Some(&FieldAt::Pointer(pointer.into())), "{text}: {error}");
        }
    }
}
