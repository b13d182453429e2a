//! A client of Gantry's REST API over HTTP/1.1: one kept-alive connection, one call at a time.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::client::{Delivery, Failure, INVISIBLE_DURATION, Receive};
use super::plan::Plan;
use super::stamp::Stamp;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub struct Caller {
    requests: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    path: String,
    batch_path: String,
    timeout: Duration,
}

impl Caller {
    pub async fn connect(plan: &Plan, address: &str) -> Result<Caller, Failure> {
        let socket = super::dial(address).await?;
        let (requests, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(Failure::connection)?;
        // Its end is seen by the call that is under way, or by the next.
        tokio::spawn(connection);
        let path = format!("/v1/topics/{}/messages", plan.topic);
        Ok(Caller {
            requests,
            host: HeaderValue::try_from(address).map_err(Failure::connection)?,
            batch_path: format!("{path}/batch"),
            path,
            timeout: plan.timeout,
        })
    }

    /// Makes the topic unless it is there.
    pub async fn create_topic(&mut self, topic: &str, queues: u32) -> Result<(), Failure> {
        let body = format!(r#"{{"writeQueues":{queues},"readQueues":{queues}}}"#);
        let mut request = self.request(Method::PUT, &format!("/v1/topics/{topic}"), body.into(), JSON);
        request.headers_mut().insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        match self.exchange(request, Duration::ZERO).await? {
            (StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED, _) => Ok(()),
            (status, answer) => succeeded(status, &answer),
        }
    }

    pub async fn send(&mut self, call: Bytes, count: usize) -> Result<Vec<(usize, Failure)>, Failure> {
        let single = call.first() != Some(&b'{');
        let (path, kind) = if single { (&self.path, OCTETS) } else { (&self.batch_path, JSON) };
        let request = self.request(Method::POST, path, call, kind);
        let (status, answer) = self.exchange(request, Duration::ZERO).await?;
        match status {
            StatusCode::MULTI_STATUS => refused(&answer, count),
            status => succeeded(status, &answer).map(|()| Vec::new()),
        }
    }

    pub async fn receive(&mut self, receive: &Receive) -> Result<Vec<Delivery>, Failure> {
        let mut request = self.request(Method::POST, &receive.path, receive.request.clone(), JSON);
        if let Ok(wait) = HeaderValue::try_from(format!("wait={}", receive.wait.as_secs())) {
            request.headers_mut().insert("prefer", wait);
        }
        let (status, answer) = self.exchange(request, receive.wait).await?;
        succeeded(status, &answer)?;
        let garbled = |error: serde_json::Error| Failure::answer("garbled_answer", error.to_string());
        let received: Received = serde_json::from_slice(&answer).map_err(garbled)?;
        let delivery = |message: Message| {
            let body = message.body.as_deref().unwrap_or_default();
            Delivery {
                stamp: Stamp::read(body.as_bytes()),
                body_bytes: body.len(),
                message_id: Bytes::new(),
                receipt_handle: slice_of(&answer, &message.receipt_handle),
            }
        };
        Ok(received.messages.into_iter().map(delivery).collect())
    }

    pub async fn ack(&mut self, list: &[Delivery]) -> Result<Vec<(usize, Failure)>, Failure> {
        let handle = |delivery: &Delivery| String::from_utf8_lossy(&delivery.receipt_handle).into_owned();
        let request = match list {
            [one] => {
                let path = format!("/v1/receipts/{}", handle(one));
                self.request(Method::DELETE, &path, Bytes::new(), JSON)
            }
            many => {
                // A handle is base64url: nothing in it to escape.
                let entry = |delivery| format!(r#"{{"receiptHandle":"{}","action":"ack"}}"#, handle(delivery));
                let entries: Vec<String> = many.iter().map(entry).collect();
                let body = format!(r#"{{"entries":[{}]}}"#, entries.join(","));
                self.request(Method::POST, "/v1/receipts/settle", body.into(), JSON)
            }
        };
        let (status, answer) = self.exchange(request, Duration::ZERO).await?;
        match status {
            StatusCode::MULTI_STATUS => refused(&answer, list.len()),
            status => succeeded(status, &answer).map(|()| Vec::new()),
        }
    }

    fn request(&self, method: Method, path: &str, body: Bytes, kind: HeaderValue) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        // A path that is none is answered by the server, and counted.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert(header::HOST, self.host.clone());
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        request
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        wait: Duration,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let call = async {
            self.requests.ready().await.map_err(Failure::connection)?;
            let response = self.requests.send_request(request).await.map_err(Failure::connection)?;
            let status = response.status();
            let answer = response.into_body().collect().await.map_err(Failure::connection)?.to_bytes();
            Ok((status, answer))
        };
        let timeout = self.timeout + wait;
        match tokio::time::timeout(timeout, call).await {
            Ok(answer) => answer,
            // The connection waits for that answer still: nothing more can be asked on it.
            Err(_) => Err(Failure { is_final: true, ..Failure::timeout(timeout) }),
        }
    }
}

pub fn receiving(plan: &Plan, group: &str, messages_max: usize) -> Receive {
    let invisible = INVISIBLE_DURATION.as_secs();
    let topic = &plan.topic;
    let request = format!(r#"{{"topic":"{topic}","maxMessages":{messages_max},"invisibleDuration":"{invisible}s"}}"#);
    Receive {
        path: format!("/v1/groups/{group}/receive"),
        request: request.into(),
        ack_head: Bytes::new(),
        wait: plan.wait,
    }
}

#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    receipt_handle: Cow<'a, str>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
}

#[derive(Deserialize)]
struct Many {
    results: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    problem: Option<Problem>,
}

/// A text that was borrowed is shared; serde copies one only where it had to unescape it.
fn slice_of(whole: &Bytes, text: &str) -> Bytes {
    let range = whole.as_ptr_range();
    if range.contains(&text.as_ptr()) {
        whole.slice_ref(text.as_bytes())
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    }
}

fn succeeded(status: StatusCode, answer: &[u8]) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    Err(match serde_json::from_slice::<Problem>(answer) {
        Ok(problem) => Failure::answer(problem.code, problem.detail),
        Err(_) => Failure::answer(format!("http_{}", status.as_u16()), String::from_utf8_lossy(answer)),
    })
}

fn refused(answer: &[u8], count: usize) -> Result<Vec<(usize, Failure)>, Failure> {
    let many: Many =
        serde_json::from_slice(answer).map_err(|error| Failure::answer("garbled_answer", error.to_string()))?;
    if many.results.len() != count {
        let found = many.results.len();
        return Err(Failure::answer("entries_missing", format!("{found} results for {count} messages")));
    }
    let entries = many.results.into_iter().enumerate();
    let failed = entries.filter_map(|(at, one)| one.problem.map(|problem| (at, problem)));
    Ok(failed.map(|(at, problem)| (at, Failure::answer(problem.code, problem.detail))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_has_its_code_and_its_place() {
        let problem = br#"{"type":"x","code":"topic_not_found","detail":"no 't'"}"#;
        let failure = succeeded(StatusCode::NOT_FOUND, problem).unwrap_err();
        assert_eq!((failure.code.as_ref(), failure.detail.as_str()), ("topic_not_found", "no 't'"));
        assert_eq!(succeeded(StatusCode::BAD_GATEWAY, b"<html>").unwrap_err().code, "http_502");
        assert_eq!(succeeded(StatusCode::CREATED, b""), Ok(()));
        let many = br#"{"summary":{},"results":[{"status":201},{"status":400,"problem":{"code":"invalid"}}]}"#;
        let found = refused(many, 2).unwrap();
        assert_eq!((found.len(), found[0].0, found[0].1.code.as_ref()), (1, 1, "invalid"));
        assert_eq!(refused(many, 3).unwrap_err().code, "entries_missing");
    }

    #[test]
    fn a_borrowed_text_is_shared() {
        let whole = Bytes::from_static(b"{\"a\":\"text\"}");
        let text = std::str::from_utf8(&whole[6..10]).unwrap();
        assert_eq!(slice_of(&whole, text).as_ptr(), text.as_ptr());
        assert_eq!(slice_of(&whole, &String::from("copy")), "copy");
    }
}
