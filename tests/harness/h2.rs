//! HTTP/2 and gRPC by hand, frame by frame (RFC 9113): for peers without manners, whom no client library plays, and for
//! loads that must cost less than what they measure. Headers are literal and never indexed (RFC 7541, 6.2.2), so that a
//! call's head is the same bytes every time.

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const FRAME_HEAD: usize = 9;
/// What every server takes in one frame.
pub const FRAME_BYTES_MAX: usize = 16 << 10;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// What a frame that was read says of itself.
#[derive(Debug, Clone, Copy)]
pub struct FrameHead {
    pub len: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl FrameHead {
    pub fn of(head: &[u8; FRAME_HEAD]) -> FrameHead {
        let [len @ .., kind, flags, a, b, c, d] = *head;
        let stream = u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1);
        FrameHead { len: u32::from_be_bytes([0, len[0], len[1], len[2]]) as usize, kind, flags, stream }
    }
}

pub fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("a frame of ours is short").to_be_bytes();
    out.extend_from_slice(&len[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// How a client begins.
pub fn hello(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings = settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let mut hello = PREFACE.to_vec();
    put_frame(&mut hello, SETTINGS, 0, 0, &settings.collect::<Vec<u8>>());
    hello
}

pub fn put_header(fields: &mut Vec<u8>, name: &str, value: &str) {
    fields.push(0);
    put_text(fields, name);
    put_text(fields, value);
}

/// The header fields of a call to the messaging service.
pub fn head_of(rpc: &str, client_id: &str) -> Vec<u8> {
    // The table has POST and http, and the names of path and authority.
    let mut fields = vec![0x83, 0x86, 0x04];
    put_text(&mut fields, &format!("/apache.rocketmq.v2.MessagingService/{rpc}"));
    fields.push(0x01);
    put_text(&mut fields, "gantry");
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-mq-client-id", client_id),
        // Every official client says its own; it decides the digest of what the client receives.
        ("x-mq-language", "JAVA"),
    ] {
        put_header(&mut fields, name, value);
    }
    fields
}

fn put_text(fields: &mut Vec<u8>, text: &str) {
    let len = u8::try_from(text.len()).ok().filter(|len| *len < 0x7f);
    fields.push(len.expect("one byte says its length"));
    fields.extend_from_slice(text.as_bytes());
}

/// A whole call: its head, and one message.
pub fn put_call(out: &mut Vec<u8>, stream: u32, head: &[u8], message: &[u8]) {
    put_frame(out, HEADERS, END_HEADERS, stream, head);
    let prefix = [&[0][..], &(message.len() as u32).to_be_bytes()].concat();
    let body = [&prefix, message].concat();
    let mut pieces = body.chunks(FRAME_BYTES_MAX).peekable();
    while let Some(piece) = pieces.next() {
        put_frame(out, DATA, if pieces.peek().is_none() { END_STREAM } else { 0 }, stream, piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_length_kind_and_stream() {
        let mut out = Vec::new();
        put_frame(&mut out, DATA, END_STREAM, 3, b"xyz");
        assert_eq!(out, [0, 0, 3, 0, 1, 0, 0, 0, 3, b'x', b'y', b'z']);
        let head = FrameHead::of(out.first_chunk().unwrap());
        assert_eq!((head.len, head.kind, head.flags, head.stream), (3, DATA, END_STREAM, 3));
    }
}
