//! gRPC calls from ready-made bytes over one HTTP/2 connection, many under way at once. For loads that go on from what was
//! answered, which h2load cannot. It must cost less than what it measures, so it packs no headers and reads none.
//!
//! Answers are judged by their messages: an error of gRPC's comes without one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::Outcome;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// gRPC's: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;
/// No answer waits for a window of ours.
const WINDOW: u32 = 1 << 30;
/// The connection's window is given back in pieces of so much.
const GIVEN_BACK: usize = 1 << 26;
/// What a malloc gives without asking the kernel.
const READ_BYTES: usize = 64 << 10;
/// What every server takes in one frame.
const DATA_FRAME_BYTES_MAX: usize = 16 << 10;
/// Nothing that is asked here takes longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A method of the messaging service: the header fields of its calls, literal and never indexed, so that they are the same
/// bytes every time.
#[derive(Debug, Clone)]
pub struct Method(Vec<u8>);

impl Method {
    pub fn new(name: &str) -> Method {
        // HPACK's table has POST and http, and the names of path and authority.
        let mut fields = vec![0x83, 0x86, 0x04];
        put(&mut fields, &format!("/apache.rocketmq.v2.MessagingService/{name}"));
        fields.push(0x01);
        put(&mut fields, "bench");
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers"), ("x-mq-client-id", "bench")] {
            fields.push(0x00);
            put(&mut fields, name);
            put(&mut fields, value);
        }
        Method(fields)
    }
}

fn put(fields: &mut Vec<u8>, text: &str) {
    let len = u8::try_from(text.len()).ok().filter(|len| *len < 0x7f);
    fields.push(len.expect("one byte says its length"));
    fields.extend_from_slice(text.as_bytes());
}

/// The number of a call on its connection.
pub type CallId = u32;

#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    /// What was read and makes no whole frame yet.
    read: BytesMut,
    /// What is to be written.
    out: Vec<u8>,
    next: CallId,
    /// What has come so far of each answer.
    under_way: HashMap<CallId, BytesMut>,
    /// Of the connection's window, what was used and not given back.
    used: usize,
    /// The server has said how large its own is.
    has_window: bool,
}

impl Connection {
    /// Returns when the server has made its windows as large as it wants them.
    pub async fn open(address: SocketAddr) -> Outcome<Connection> {
        let socket = TcpStream::connect(address).await.map_err(said)?;
        socket.set_nodelay(true).map_err(said)?;
        let mut out = PREFACE.to_vec();
        let settings = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat();
        frame(&mut out, SETTINGS, 0, 0, &settings);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        let (read, under_way) = (BytesMut::new(), HashMap::new());
        let mut connection = Connection { socket, read, out, next: 1, under_way, used: 0, has_window: false };
        while !connection.has_window {
            connection.send().await?;
            connection.read().await?;
            connection.take_frames(&mut Vec::new())?;
        }
        Ok(connection)
    }

    /// To be sent with the next `send` or `answered`.
    ///
    /// The server's windows are not watched: what it was sent earlier is answered, so it has given those bytes back but for
    /// the half of a window that it may keep to itself; and what is under way here is far less than the other half.
    pub fn call(&mut self, method: &Method, request: &[u8]) -> CallId {
        let call = self.next;
        self.next += 2;
        frame(&mut self.out, HEADERS, END_HEADERS, call, &method.0);
        let head = [&[0][..], &(request.len() as u32).to_be_bytes()].concat();
        let body = [&head, request].concat();
        let mut pieces = body.chunks(DATA_FRAME_BYTES_MAX).peekable();
        while let Some(piece) = pieces.next() {
            frame(&mut self.out, DATA, if pieces.peek().is_none() { END_STREAM } else { 0 }, call, piece);
        }
        self.under_way.insert(call, BytesMut::new());
        call
    }

    pub async fn send(&mut self) -> Outcome<()> {
        self.socket.write_all(&self.out).await.map_err(said)?;
        self.out.clear();
        Ok(())
    }

    /// The calls that have been answered since, at least one: the messages of each answer.
    pub async fn answered(&mut self) -> Outcome<Vec<(CallId, Vec<Bytes>)>> {
        let mut answers = Vec::new();
        loop {
            self.send().await?;
            self.take_frames(&mut answers)?;
            if !answers.is_empty() {
                return Ok(answers);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Outcome<()> {
        self.read.reserve(READ_BYTES);
        let reading = tokio::time::timeout(ANSWER_MAX, self.socket.read_buf(&mut self.read)).await;
        match reading.map_err(|_| format!("failed: no answer within {} s", ANSWER_MAX.as_secs()))?.map_err(said)? {
            0 => Err("failed: the server closed the connection".into()),
            _ => Ok(()),
        }
    }

    fn take_frames(&mut self, answers: &mut Vec<(CallId, Vec<Bytes>)>) -> Outcome<()> {
        while let Some(head) = self.read.first_chunk::<FRAME_HEAD>().copied() {
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if self.read.len() < FRAME_HEAD + len {
                break;
            }
            self.read.advance(FRAME_HEAD);
            let payload = self.read.split_to(len);
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
            match kind {
                DATA => {
                    let answer = self.under_way.get_mut(&stream).ok_or("failed: data of no call")?;
                    // Most come in one frame.
                    if answer.is_empty() {
                        *answer = payload;
                    } else {
                        answer.extend_from_slice(&payload);
                    }
                    self.used += len;
                }
                SETTINGS if flags & ACK == 0 => frame(&mut self.out, SETTINGS, ACK, 0, &[]),
                WINDOW_UPDATE if stream == 0 => self.has_window = true,
                PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, &payload),
                RST_STREAM | GOAWAY => return Err(format!("failed: the server sent a frame of type {kind}")),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                let answer = self.under_way.remove(&stream).ok_or("failed: the end of no call")?;
                answers.push((stream, messages(answer.freeze())?));
            }
        }
        if self.used >= GIVEN_BACK {
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &(self.used as u32).to_be_bytes());
            self.used = 0;
        }
        Ok(())
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: CallId, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("a frame of ours is short").to_be_bytes();
    out.extend_from_slice(&len[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The messages of an answer, each behind its length.
fn messages(mut answer: Bytes) -> Outcome<Vec<Bytes>> {
    let mut messages = Vec::new();
    while !answer.is_empty() {
        let head = answer.first_chunk::<MESSAGE_HEAD>().ok_or("failed: an answer ends inside a message")?;
        let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] != 0 || answer.len() < MESSAGE_HEAD + len {
            return Err("failed: an answer is compressed or ends inside a message".into());
        }
        answer.advance(MESSAGE_HEAD);
        messages.push(answer.split_to(len));
    }
    if messages.is_empty() { Err("failed: an answer holds no message".into()) } else { Ok(messages) }
}

fn said(error: std::io::Error) -> String {
    format!("failed: the connection: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_into_its_messages() {
        let two = Bytes::from_static(&[0, 0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0]);
        assert_eq!(messages(two.clone()).unwrap(), [&[7, 8][..], &[]]);
        for wrong in [two.slice(..6), two.slice(..9), Bytes::new(), Bytes::from_static(&[1, 0, 0, 0, 0])] {
            assert!(messages(wrong).is_err_and(|reason| reason.starts_with("failed")));
        }
    }

    #[test]
    fn a_frame_says_its_length_kind_and_stream() {
        let mut out = Vec::new();
        frame(&mut out, DATA, END_STREAM, 3, b"xyz");
        assert_eq!(out, [0, 0, 3, 0, 1, 0, 0, 0, 3, b'x', b'y', b'z']);
    }
}
