//! Just enough protobuf to be cheap: reads the few fields a load generator looks at, without building the rest, and
//! writes acknowledgements out of slices of what was received.

use bytes::{BufMut, Bytes, BytesMut};

use super::client::{Delivery, Failure};
use super::stamp::Stamp;

const OK: u64 = 20_000;
/// A gRPC message's prefix: a flag and its length.
pub const PREFIX_LEN: usize = 5;

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of one message in the order they stand; `None` inside: not protobuf.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

fn garbled() -> Failure {
    Failure::answer("garbled_answer", "the answer is not the message it should be")
}

/// Code and text of a `Status`.
fn status(message: &[u8]) -> Option<(u64, &[u8])> {
    let (mut code, mut text) = (0, &[][..]);
    for field in Fields(message) {
        match field? {
            (1, Value::Number(number)) => code = number,
            (2, Value::Bytes(bytes)) => text = bytes,
            _ => {}
        }
    }
    Some((code, text))
}

fn refusal((code, text): (u64, &[u8])) -> Failure {
    let known = i32::try_from(code).ok().and_then(|code| gantry_proto::grpc::v2::Code::try_from(code).ok());
    let name = known.map_or_else(|| format!("code_{code}"), |code| code.as_str_name().into());
    Failure::answer(name, String::from_utf8_lossy(text))
}

/// Reads an answer of the shape `1: status, 2: entries`, and gives what was refused: (entry, why). `status_at` is the
/// status's place in an entry.
pub fn refused_entries(answer: &[u8], status_at: u64, count: usize) -> Result<Vec<(usize, Failure)>, Failure> {
    let (mut top, mut entries, mut refused) = (None, 0, Vec::new());
    for field in Fields(answer) {
        match field.ok_or_else(garbled)? {
            (1, Value::Bytes(bytes)) => top = Some(status(bytes).ok_or_else(garbled)?),
            (2, Value::Bytes(entry)) => {
                let mut found = None;
                for field in Fields(entry) {
                    if let (number, Value::Bytes(bytes)) = field.ok_or_else(garbled)?
                        && number == status_at
                    {
                        found = Some(status(bytes).ok_or_else(garbled)?);
                    }
                }
                match found.ok_or_else(garbled)? {
                    (OK, _) => {}
                    other => refused.push((entries, refusal(other))),
                }
                entries += 1;
            }
            _ => {}
        }
    }
    let top = top.ok_or_else(garbled)?;
    match entries == count {
        true => Ok(refused),
        // A refused call need not repeat its entries.
        false if top.0 != OK => Err(refusal(top)),
        false => Err(Failure::answer("entries_missing", format!("{entries} results for {count} messages"))),
    }
}

/// What was refused of a sending call. Apache's proxy stores a call's messages as one batch, all or none, and gives one
/// result for them all.
pub fn refused_messages(answer: &[u8], count: usize) -> Result<Vec<(usize, Failure)>, Failure> {
    match refused_entries(answer, 1, 1) {
        Ok(refused) if refused.is_empty() => Ok(refused),
        _ => refused_entries(answer, 1, count),
    }
}

/// One frame of a ReceiveMessage stream.
pub enum Frame {
    Status(Result<(), Failure>),
    Message(Delivery),
    Other,
}

/// Nothing was there: an answer, not a failure.
pub const MESSAGE_NOT_FOUND: &str = "MESSAGE_NOT_FOUND";

pub fn received(frame: &Bytes) -> Result<Frame, Failure> {
    let mut found = Frame::Other;
    for field in Fields(frame) {
        match field.ok_or_else(garbled)? {
            (1, Value::Bytes(bytes)) => {
                found = Frame::Status(match status(bytes).ok_or_else(garbled)? {
                    (OK, _) => Ok(()),
                    other => Err(refusal(other)),
                });
            }
            (2, Value::Bytes(bytes)) => found = Frame::Message(delivery(frame, bytes).ok_or_else(garbled)?),
            _ => {}
        }
    }
    Ok(found)
}

fn delivery(frame: &Bytes, message: &[u8]) -> Option<Delivery> {
    let (mut stamp, mut body_bytes, mut message_id, mut receipt_handle) = (None, 0, Bytes::new(), Bytes::new());
    for field in Fields(message) {
        match field? {
            (3, Value::Bytes(system)) => {
                for field in Fields(system) {
                    match field? {
                        (3, Value::Bytes(bytes)) => message_id = frame.slice_ref(bytes),
                        (12, Value::Bytes(bytes)) => receipt_handle = frame.slice_ref(bytes),
                        _ => {}
                    }
                }
            }
            (4, Value::Bytes(body)) => {
                stamp = Stamp::read(body);
                body_bytes = body.len();
            }
            _ => {}
        }
    }
    Some(Delivery { stamp, body_bytes, message_id, receipt_handle })
}

/// An AckMessageRequest in a gRPC message: `head` is the request without its entries.
pub fn ack(head: &[u8], deliveries: &[Delivery]) -> Bytes {
    let room: usize =
        deliveries.iter().map(|delivery| delivery.message_id.len() + delivery.receipt_handle.len() + 16).sum();
    let mut request = BytesMut::with_capacity(PREFIX_LEN + head.len() + room);
    request.put_bytes(0, PREFIX_LEN);
    request.put_slice(head);
    for Delivery { message_id, receipt_handle, .. } in deliveries {
        let len = field_len(message_id) + field_len(receipt_handle);
        request.put_u8(3 << 3 | 2);
        put_varint(&mut request, len);
        put_field(&mut request, 1, message_id);
        put_field(&mut request, 2, receipt_handle);
    }
    write_prefix(&mut request);
    request.freeze()
}

/// Writes the length of what follows into a gRPC message's prefix.
pub fn write_prefix(message: &mut [u8]) {
    let len = u32::try_from(message.len() - PREFIX_LEN).expect("a call's bytes are bounded");
    message[0] = 0;
    message[1..PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
}

fn put_field(to: &mut BytesMut, number: u8, bytes: &[u8]) {
    to.put_u8(number << 3 | 2);
    put_varint(to, bytes.len());
    to.put_slice(bytes);
}

fn put_varint(to: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

/// Length of a field with a small number: its tag, its length, itself.
fn field_len(bytes: &[u8]) -> usize {
    1 + (bytes.len().max(1).ilog2() as usize / 7 + 1) + bytes.len()
}

#[cfg(test)]
mod tests {
    use gantry_proto::grpc::v2;
    use prost::Message as _;
    use v2::receive_message_response::Content;

    use super::*;

    fn status(code: v2::Code) -> Option<v2::Status> {
        Some(v2::Status { code: code.into(), message: "why".into() })
    }

    #[test]
    fn refused_entries_are_found_by_their_place() {
        let entry = |code| v2::SendResultEntry { status: status(code), offset: 300, ..v2::SendResultEntry::default() };
        let entries = vec![entry(v2::Code::Ok), entry(v2::Code::IllegalTopic)];
        let answer = v2::SendMessageResponse { status: status(v2::Code::MultipleResults), entries }.encode_to_vec();
        let refused = refused_entries(&answer, 1, 2).unwrap();
        assert_eq!((refused.len(), refused[0].0, refused[0].1.code.as_ref()), (1, 1, "ILLEGAL_TOPIC"));
        // The wrong number of entries is no success, and a refused call needs none.
        assert_eq!(refused_entries(&answer, 1, 3).unwrap_err().code, "MULTIPLE_RESULTS");
        let short = v2::SendMessageResponse { status: status(v2::Code::Ok), entries: vec![] }.encode_to_vec();
        assert_eq!(refused_entries(&short, 1, 1).unwrap_err().code, "entries_missing");
        let refused = v2::SendMessageResponse { status: status(v2::Code::TopicNotFound), entries: vec![] };
        assert_eq!(refused_entries(&refused.encode_to_vec(), 1, 1).unwrap_err().code, "TOPIC_NOT_FOUND");
        for cut in 1..answer.len() {
            // Cut anywhere, nothing is taken for two successes.
            assert!(refused_entries(&answer[..cut], 1, 2).is_err(), "{cut}");
        }
    }

    #[test]
    fn one_result_may_stand_for_a_whole_call() {
        let entry = |code| v2::SendResultEntry { status: status(code), ..v2::SendResultEntry::default() };
        let answer = |top, entries: &[v2::Code]| {
            let entries = entries.iter().map(|code| entry(*code)).collect();
            v2::SendMessageResponse { status: status(top), entries }.encode_to_vec()
        };
        use v2::Code::{IllegalTopic, MultipleResults, Ok as Stored};
        assert!(refused_messages(&answer(Stored, &[Stored]), 32).unwrap().is_empty());
        assert_eq!(refused_messages(&answer(MultipleResults, &[Stored, IllegalTopic]), 2).unwrap().len(), 1);
        assert_eq!(refused_messages(&answer(IllegalTopic, &[IllegalTopic]), 32).unwrap_err().code, "ILLEGAL_TOPIC");
        assert_eq!(refused_messages(&answer(Stored, &[Stored, Stored]), 32).unwrap_err().code, "entries_missing");
    }

    #[test]
    fn a_delivery_is_read_and_acknowledged_with_its_own_words() {
        let mut body = vec![b'x'; 200];
        let stamp = Stamp { run: 1, number: 2, intended_ns: 3 };
        stamp.write(&mut body);
        let message = v2::Message {
            body: body.into(),
            system_properties: Some(v2::SystemProperties {
                message_id: "01AB".into(),
                receipt_handle: Some("h".repeat(200)),
                delivery_attempt: Some(1),
                ..v2::SystemProperties::default()
            }),
            ..v2::Message::default()
        };
        let frame = v2::ReceiveMessageResponse { content: Some(Content::Message(message)) }.encode_to_vec().into();
        let Ok(Frame::Message(delivery)) = received(&frame) else { panic!("a message") };
        assert_eq!((delivery.stamp, delivery.body_bytes), (Some(stamp), 200));

        let resource = |name: &str| Some(v2::Resource { name: name.into(), ..v2::Resource::default() });
        let head = v2::AckMessageRequest { group: resource("g"), topic: resource("t"), entries: vec![] };
        let request = ack(&head.encode_to_vec(), &[delivery.clone(), delivery]);
        assert_eq!(request[1..5], (request.len() as u32 - 5).to_be_bytes());
        let request = v2::AckMessageRequest::decode(&request[5..]).unwrap();
        assert_eq!((request.entries.len(), &request.group, &request.topic), (2, &head.group, &head.topic));
        assert_eq!((request.entries[1].message_id.as_str(), request.entries[1].receipt_handle.len()), ("01AB", 200));
    }

    #[test]
    fn the_status_frame_is_told_from_a_message() {
        let frame = |code| v2::ReceiveMessageResponse { content: Some(Content::Status(status(code).unwrap())) };
        let read = |code| received(&frame(code).encode_to_vec().into());
        assert!(matches!(read(v2::Code::Ok), Ok(Frame::Status(Ok(())))));
        let Ok(Frame::Status(Err(failure))) = read(v2::Code::MessageNotFound) else { panic!("a refusal") };
        assert_eq!(failure.code, MESSAGE_NOT_FOUND);
        assert!(received(&Bytes::from_static(b"\x0a\x7f")).is_err());
    }

    #[test]
    fn lengths_are_counted_as_they_are_written() {
        for len in [0, 1, 127, 128, 16_383, 16_384] {
            let mut to = BytesMut::new();
            put_field(&mut to, 1, &vec![0; len]);
            assert_eq!(to.len(), field_len(&vec![0; len]), "{len}");
        }
    }
}
