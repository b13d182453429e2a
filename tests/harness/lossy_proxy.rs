//! A network that loses replies: a TCP proxy in front of a server that cuts connections, and never before the server was
//! sent the whole of what came from the client. What it decides follows from a seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Of so many replies one is lost.
const ONE_OF: u64 = 10;
const CHUNK_BYTES: usize = 64 << 10;

/// Ends with the runtime that it was started on.
pub struct LossyProxy {
    pub address: SocketAddr,
    lost: Arc<Lost>,
}

#[derive(Default)]
struct Lost {
    replies: AtomicU64,
    asked: AtomicU64,
}

/// How the client loses its reply.
#[derive(Clone, Copy)]
enum Cut {
    /// The connection ends as soon as the request is through: the server may see it end before it has answered.
    BeforeReply,
    /// The server has answered, and nothing of it arrives.
    Reply,
    /// The reply ends in the middle.
    WithinReply,
}

impl LossyProxy {
    pub async fn start(server: SocketAddr, seed: u64) -> LossyProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let lost = Arc::new(Lost { asked: AtomicU64::new(seed), ..Lost::default() });
        let decides = lost.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let decides = decides.clone();
                tokio::spawn(async move {
                    // Either side going away ends both.
                    let _ = carry(client, server, &decides).await;
                });
            }
        });
        LossyProxy { address, lost }
    }

    pub fn lost_replies(&self) -> u64 {
        self.lost.replies.load(Ordering::Relaxed)
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, lost: &Lost) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut from_server) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    // Decided when a request begins, and done when it is answered.
    let mut cut = None;
    let mut is_asking = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let len = read?;
                if len == 0 {
                    return Ok(());
                }
                if !std::mem::replace(&mut is_asking, true) {
                    cut = lost.decide();
                }
                server.write_all(&from_client[..len]).await?;
                if matches!(cut, Some(Cut::BeforeReply)) && len < CHUNK_BYTES {
                    return lost.one(Ok(()));
                }
            }
            read = server.read(&mut from_server) => {
                let len = read?;
                if len == 0 {
                    return Ok(());
                }
                is_asking = false;
                match cut {
                    None | Some(Cut::BeforeReply) => client.write_all(&from_server[..len]).await?,
                    Some(Cut::Reply) => return lost.one(Ok(())),
                    Some(Cut::WithinReply) => return lost.one(client.write_all(&from_server[..len / 2]).await),
                }
            }
        }
    }
}

impl Lost {
    fn decide(&self) -> Option<Cut> {
        // SplitMix64 over the number of the request.
        let mut chance = self.asked.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        chance = (chance ^ chance >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        chance = (chance ^ chance >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        chance ^= chance >> 31;
        match (chance % ONE_OF, chance / ONE_OF % 3) {
            (0, 0) => Some(Cut::BeforeReply),
            (0, 1) => Some(Cut::Reply),
            (0, _) => Some(Cut::WithinReply),
            _ => None,
        }
    }

    fn one<T>(&self, result: T) -> T {
        self.replies.fetch_add(1, Ordering::Relaxed);
        result
    }
}
