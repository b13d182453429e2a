//! A sending call's bytes, encoded once: from call to call only the stamps and the ids in it change.

use bytes::{BufMut, Bytes, BytesMut};
use gantry_proto::grpc::v2;
use prost::Message as _;

use super::stamp::{STAMP_LEN, Stamp, write_id};
use super::wire::{PREFIX_LEN, write_prefix};

/// Digits of an id that count messages.
const ID_DIGITS: usize = 8;

/// Belongs to one call at a time; the bytes come back once the call is answered, and are used again.
pub struct Outbox {
    /// What the last call has carried.
    last: Bytes,
    whole: Bytes,
    head_len: usize,
    chunk_len: usize,
    /// Where in a chunk.
    stamp_at: usize,
    id_at: Option<usize>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Grpc,
    JsonList,
    Raw,
}

impl Outbox {
    /// A SendMessageRequest of up to `batch` messages. The id's last eight characters are the message's number.
    pub fn grpc(message: v2::Message, batch: usize) -> Outbox {
        let id = message.system_properties.as_ref().map(|system| system.message_id.clone()).unwrap_or_default();
        let body = message.body.clone();
        let chunk = v2::SendMessageRequest { messages: vec![message] }.encode_to_vec();
        let find = |bytes: &[u8]| {
            let at = chunk.windows(bytes.len()).position(|window| window == bytes);
            at.expect("what was encoded is there")
        };
        let id_at = find(id.as_bytes()) + id.len() - ID_DIGITS;
        let stamp_at = find(&body);
        Outbox::new(&[0; PREFIX_LEN], &chunk, batch, stamp_at, Some(id_at), Framing::Grpc)
    }

    /// `{"messages":[...]}` of up to `batch` messages.
    pub fn json(size: usize, batch: usize) -> Outbox {
        let open = r#"{"body":""#;
        let chunk = [open.as_bytes(), &filler(size), br#""},"#].concat();
        Outbox::new(br#"{"messages":["#, &chunk, batch, open.len(), None, Framing::JsonList)
    }

    /// One body, as it is.
    pub fn raw(size: usize) -> Outbox {
        Outbox::new(&[], &filler(size), 1, 0, None, Framing::Raw)
    }

    fn new(head: &[u8], chunk: &[u8], batch: usize, stamp_at: usize, id_at: Option<usize>, framing: Framing) -> Outbox {
        let mut whole = BytesMut::with_capacity(head.len() + chunk.len() * batch + 1);
        whole.put_slice(head);
        (0..batch).for_each(|_| whole.put_slice(chunk));
        match framing {
            Framing::Grpc => write_prefix(&mut whole),
            Framing::JsonList => end_list(&mut whole),
            Framing::Raw => {}
        }
        let whole = whole.freeze();
        let (head_len, chunk_len) = (head.len(), chunk.len());
        Outbox { last: Bytes::copy_from_slice(&whole), whole, head_len, chunk_len, stamp_at, id_at, framing }
    }

    /// The call for `count` messages, numbered from the stamp's number on.
    pub fn fill(&mut self, first: Stamp, count: usize) -> Bytes {
        let end = self.head_len + self.chunk_len * count;
        let whole_len = self.whole.len();
        let is_whole = end + usize::from(self.framing == Framing::JsonList) == whole_len;
        // Shared still when the transport keeps what it has sent: then a copy.
        let mut call = match std::mem::take(&mut self.last).try_into_mut() {
            Ok(call) if is_whole && call.len() == whole_len => call,
            _ if is_whole => BytesMut::from(&self.whole[..]),
            _ => {
                let mut call = BytesMut::from(&self.whole[..end]);
                match self.framing {
                    Framing::Grpc => write_prefix(&mut call),
                    Framing::JsonList => end_list(&mut call),
                    Framing::Raw => {}
                }
                call
            }
        };
        for at in 0..count {
            let chunk = &mut call[self.head_len + at * self.chunk_len..][..self.chunk_len];
            let stamp = Stamp { number: first.number + at as u64, ..first };
            stamp.write(&mut chunk[self.stamp_at..self.stamp_at + STAMP_LEN]);
            if let Some(id_at) = self.id_at {
                write_id(stamp.number as u32, &mut chunk[id_at..id_at + ID_DIGITS]);
            }
        }
        let call = call.freeze();
        self.last = call.clone();
        call
    }
}

/// The last comma becomes the end of the list.
fn end_list(list: &mut BytesMut) {
    let last = list.len() - 1;
    list[last] = b']';
    list.put_u8(b'}');
}

/// Letters and digits, so that a JSON text holds them as they are; without a period that a compressor would like.
pub fn filler(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[(state >> 58) as usize]
    };
    (0..size).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Stamp = Stamp { run: 7, number: 0x10, intended_ns: 5 };

    fn message() -> v2::Message {
        let system = v2::SystemProperties { message_id: format!("01{:032}", 0), ..v2::SystemProperties::default() };
        v2::Message { body: filler(100).into(), system_properties: Some(system), ..v2::Message::default() }
    }

    fn numbers(call: &Bytes) -> Vec<(u64, String)> {
        assert_eq!(call[1..5], (call.len() as u32 - 5).to_be_bytes());
        let messages = v2::SendMessageRequest::decode(&call[5..]).unwrap().messages;
        let read = |message: v2::Message| {
            let stamp = Stamp::read(&message.body).unwrap();
            assert_eq!((stamp.run, stamp.intended_ns, message.body.len()), (7, 5, 100));
            (stamp.number, message.system_properties.unwrap().message_id)
        };
        messages.into_iter().map(read).collect()
    }

    #[test]
    fn a_grpc_call_carries_its_messages_again_and_again() {
        let mut outbox = Outbox::grpc(message(), 2);
        let id = |number: u64| (number, format!("01{number:032X}"));
        for round in 0..3 {
            let first = Stamp { number: 0x10 + round * 2, ..FIRST };
            let call = outbox.fill(first, 2);
            assert_eq!(numbers(&call), [id(first.number), id(first.number + 1)]);
        }
        assert_eq!(numbers(&outbox.fill(FIRST, 1)), [id(0x10)], "fewer at the end of a run");
        assert_eq!(numbers(&outbox.fill(FIRST, 2)).len(), 2, "and whole again");
        // A call that is still on its way is not written over.
        let first = outbox.fill(FIRST, 2);
        let second = outbox.fill(Stamp { number: 0x20, ..FIRST }, 2);
        assert_eq!((numbers(&first)[0].0, numbers(&second)[0].0), (0x10, 0x20));
    }

    #[test]
    fn a_json_call_is_json_at_every_length() {
        let mut outbox = Outbox::json(64, 3);
        for count in [3, 1, 2, 3] {
            let json: serde_json::Value = serde_json::from_slice(&outbox.fill(FIRST, count)).unwrap();
            let bodies: Vec<_> = json["messages"].as_array().unwrap().iter().map(|message| &message["body"]).collect();
            let read = |body: &&serde_json::Value| Stamp::read(body.as_str().unwrap().as_bytes()).unwrap().number;
            assert_eq!(bodies.iter().map(read).collect::<Vec<_>>(), (0x10..0x10 + count as u64).collect::<Vec<_>>());
        }
        assert_eq!(Outbox::raw(64).fill(FIRST, 1).len(), 64);
    }
}
