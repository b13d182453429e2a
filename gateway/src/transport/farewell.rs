//! After our last word, a peer has some time to hang up in turn; what it still says is taken slowly, and thrown away.
//!
//! Whoever was hung up on for what it did would else come again at once, and what it may do on a new connection is dearer to
//! everybody beside it than what it goes on saying on this one. And a peer that means well gets our last word: the kernel takes
//! it back when a socket is closed with something left to read.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

pub const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// 800 KiB a second: a peer that does not give up as long as something moves has not come again when the time is over.
const AT_ONCE: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(20);

/// Until the peer has hung up, or has had its time.
pub async fn take(mut peer: impl AsyncRead + Unpin, within: Duration) {
    let hung_up = async {
        let mut thrown_away = vec![0; AT_ONCE];
        while matches!(peer.read(&mut thrown_away).await, Ok(1..)) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    let _ = tokio::time::timeout(within, hung_up).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_hangs_up_is_not_waited_for_any_longer() {
        let (mut peer, ours) = tokio::io::duplex(16);
        let farewell = tokio::spawn(take(ours, Duration::MAX));
        peer.write_all(&[0; 100]).await.unwrap();
        drop(peer);
        farewell.await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_goes_on_is_slowed_down_and_then_left() {
        let (mut peer, ours) = tokio::io::duplex(16 * AT_ONCE);
        let farewell = tokio::spawn(take(ours, 5 * PAUSE));
        let mut taken = 0;
        while let Ok(written) = peer.write(&[0; AT_ONCE]).await {
            taken += written;
        }
        farewell.await.unwrap();
        assert!(taken > 16 * AT_ONCE && taken <= (16 + 6) * AT_ONCE, "{taken}");
    }
}
