//! gRPC calls from ready-made bytes over one HTTP/2 connection, many under way at once. For loads that go on from what was
//! answered, which h2load cannot. It must cost less than what it measures, so it reads no headers.
//!
//! Answers are judged by their messages: an error of gRPC's comes without one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use harness::h2::{
    ACK, DATA, END_STREAM, FRAME_HEAD, FrameHead, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, head_of, hello, put_call, put_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::Outcome;

/// gRPC's: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;
/// No answer waits for a window of ours.
const WINDOW: u32 = 1 << 30;
/// The connection's window is given back in pieces of so much.
const GIVEN_BACK: usize = 1 << 26;
/// What a malloc gives without asking the kernel.
const READ_BYTES: usize = 64 << 10;
/// Nothing that is asked here takes longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A method of the messaging service: the header fields of its calls.
#[derive(Debug, Clone)]
pub struct Method(Vec<u8>);

impl Method {
    pub fn new(name: &str) -> Method {
        Method(head_of(name, "bench"))
    }
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
        let mut out = hello(&[(INITIAL_WINDOW_SIZE, WINDOW)]);
        put_frame(&mut out, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
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
        put_call(&mut self.out, call, &method.0, request);
        self.under_way.insert(call, BytesMut::new());
        call
    }

    /// Whoever gives up on this, or on `answered`, may go on later: nothing is lost and nothing is said twice.
    pub async fn send(&mut self) -> Outcome<()> {
        while !self.out.is_empty() {
            let written = self.socket.write(&self.out).await.map_err(said)?;
            self.out.drain(..written);
        }
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
            let FrameHead { len, kind, flags, stream } = FrameHead::of(&head);
            if self.read.len() < FRAME_HEAD + len {
                break;
            }
            self.read.advance(FRAME_HEAD);
            let payload = self.read.split_to(len);
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
                SETTINGS if flags & ACK == 0 => put_frame(&mut self.out, SETTINGS, ACK, 0, &[]),
                WINDOW_UPDATE if stream == 0 => self.has_window = true,
                PING if flags & ACK == 0 => put_frame(&mut self.out, PING, ACK, 0, &payload),
                RST_STREAM | GOAWAY => return Err(format!("failed: the server sent a frame of type {kind}")),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                let answer = self.under_way.remove(&stream).ok_or("failed: the end of no call")?;
                answers.push((stream, messages(answer.freeze())?));
            }
        }
        if self.used >= GIVEN_BACK {
            put_frame(&mut self.out, WINDOW_UPDATE, 0, 0, &(self.used as u32).to_be_bytes());
            self.used = 0;
        }
        Ok(())
    }
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
}
