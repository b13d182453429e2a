//! The proof that a consumer holds one delivery: typed inside, an opaque signed text outside.
//!
//! Text: `r1.` + base64url without padding of the bytes below. The MAC is HMAC-SHA-256 cut to 128 bits, over the `r1.` and
//! everything before it; it is checked first, so nothing of a forged handle is ever believed. Other signed texts of the
//! gateway (cursors) are sealed with the same keys under other prefixes, and pass for nothing else.
//!
//! | bytes | field |
//! | --- | --- |
//! | u8 | key id |
//! | u32 | consumer group id |
//! | u32 | topic id |
//! | u64 | topic incarnation |
//! | u32 | queue id |
//! | u64 | queue offset |
//! | u64, u64 | lease id: boot number, sequence |
//! | i64 | deadline, ms |
//! | u8, n | length and text of the broker name |
//! | 16 | MAC |
//!
//! All integers are big-endian. Permanent: a new layout takes a new prefix.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::clock::Timestamp;
use crate::names::BrokerName;
use crate::offset::{Incarnation, QueueId, QueueOffset};
use crate::random::Random;

const PREFIX: &str = "r1.";
const MAC_LEN: usize = 16;
const KEY_LEN: usize = 32;
const KEYS_VERSION: u8 = 1;
const FIXED_LEN: usize = 4 + 4 + 8 + 4 + 8 + 16 + 8 + 1;
/// Longest text of a handle.
pub const RECEIPT_HANDLE_CHARS_MAX: usize = 512;

/// Names one lease for ever: the boot of the broker that gave it, and its number in that boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    pub boot: u64,
    pub sequence: u64,
}

/// One delivery of one message to one consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptHandle {
    pub consumer_group_id: u32,
    pub topic_id: u32,
    pub incarnation: Incarnation,
    pub queue_id: QueueId,
    pub queue_offset: QueueOffset,
    pub lease_id: LeaseId,
    pub deadline: Timestamp,
    pub broker_name: BrokerName,
}

/// Why a text is not one of our handles. No detail: whoever forges one learns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a receipt handle of this cluster")]
pub struct ReceiptHandleError;

/// The keys handles are signed with. Two generations: the newest signs, both verify.
#[derive(Clone)]
pub struct HandleKeys {
    generations: Vec<Generation>,
}

#[derive(Clone)]
struct Generation {
    id: u8,
    key: [u8; KEY_LEN],
    /// The key taken in: two of the five blocks that a MAC of a handle would hash else.
    keyed: Hmac<Sha256>,
}

impl Generation {
    fn new(id: u8, key: [u8; KEY_LEN]) -> Generation {
        Generation { id, key, keyed: Hmac::new_from_slice(&key).expect("HMAC takes a key of any length") }
    }

    fn mac(&self, prefix: &str, bytes: &[u8]) -> [u8; MAC_LEN] {
        let mut hmac = self.keyed.clone();
        hmac.update(prefix.as_bytes());
        hmac.update(bytes);
        let whole: [u8; 32] = hmac.finalize().into_bytes().into();
        whole[..MAC_LEN].try_into().expect("16 of 32 bytes")
    }
}

impl HandleKeys {
    pub fn generate(random: &dyn Random) -> HandleKeys {
        let mut key = [0; KEY_LEN];
        random.fill(&mut key);
        HandleKeys { generations: vec![Generation::new(1, key)] }
    }

    /// | u8 version | then | u8 key id | 32 key |, once or twice, newest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys = self.generations.iter().flat_map(|generation| std::iter::once(generation.id).chain(generation.key));
        std::iter::once(KEYS_VERSION).chain(keys).collect()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<HandleKeys> {
        let (version, keys) = bytes.split_first()?;
        if *version != KEYS_VERSION {
            return None;
        }
        let generations: Vec<Generation> = keys
            .chunks(1 + KEY_LEN)
            .map(|chunk| Some(Generation::new(chunk[0], chunk.get(1..)?.try_into().ok()?)))
            .collect::<Option<_>>()?;
        (1..=2).contains(&generations.len()).then_some(HandleKeys { generations })
    }

    pub fn sign(&self, handle: &ReceiptHandle) -> String {
        let broker_name = handle.broker_name.as_str().as_bytes();
        let mut fields = Vec::with_capacity(FIXED_LEN + broker_name.len());
        fields.extend(handle.consumer_group_id.to_be_bytes());
        fields.extend(handle.topic_id.to_be_bytes());
        fields.extend(handle.incarnation.0.to_be_bytes());
        fields.extend(handle.queue_id.0.to_be_bytes());
        fields.extend(handle.queue_offset.0.to_be_bytes());
        fields.extend(handle.lease_id.boot.to_be_bytes());
        fields.extend(handle.lease_id.sequence.to_be_bytes());
        fields.extend(handle.deadline.0.to_be_bytes());
        fields.push(u8::try_from(broker_name.len()).expect("a broker name is at most 127 bytes"));
        fields.extend(broker_name);
        self.seal(PREFIX, &fields)
    }

    pub fn verify(&self, text: &str) -> Result<ReceiptHandle, ReceiptHandleError> {
        let fields = self.open(PREFIX, text).ok_or(ReceiptHandleError)?;
        Fields(&fields).handle().ok_or(ReceiptHandleError)
    }

    /// Prefix + base64url of | u8 key id | payload | 16 MAC over prefix, key id and payload |.
    pub fn seal(&self, prefix: &str, payload: &[u8]) -> String {
        let generation = &self.generations[0];
        let mut bytes = Vec::with_capacity(1 + payload.len() + MAC_LEN);
        bytes.push(generation.id);
        bytes.extend(payload);
        let mac = generation.mac(prefix, &bytes);
        bytes.extend(mac);
        let mut text = String::with_capacity(prefix.len() + bytes.len().div_ceil(3) * 4);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
        text
    }

    /// What was sealed under this prefix; `None` for any other text.
    pub fn open(&self, prefix: &str, text: &str) -> Option<Vec<u8>> {
        if text.len() > RECEIPT_HANDLE_CHARS_MAX {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(prefix)?).ok()?;
        let (signed, claimed) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
        let generation = self.generations.iter().find(|generation| Some(&generation.id) == signed.first())?;
        if !bool::from(generation.mac(prefix, signed).ct_eq(claimed)) {
            return None;
        }
        bytes.truncate(signed.len());
        bytes.remove(0);
        Some(bytes)
    }
}

/// The bytes of a handle that are not read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn handle(mut self) -> Option<ReceiptHandle> {
        Some(ReceiptHandle {
            consumer_group_id: u32::from_be_bytes(self.take()?),
            topic_id: u32::from_be_bytes(self.take()?),
            incarnation: Incarnation(u64::from_be_bytes(self.take()?)),
            queue_id: QueueId(u32::from_be_bytes(self.take()?)),
            queue_offset: QueueOffset(u64::from_be_bytes(self.take()?)),
            lease_id: LeaseId { boot: u64::from_be_bytes(self.take()?), sequence: u64::from_be_bytes(self.take()?) },
            deadline: Timestamp(i64::from_be_bytes(self.take()?)),
            broker_name: {
                let [len] = self.take()?;
                let name = (self.0.len() == usize::from(len)).then_some(self.0)?;
                BrokerName::new(std::str::from_utf8(name).ok()?).ok()?
            },
        })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seed: u8) -> HandleKeys {
        HandleKeys { generations: vec![Generation::new(seed, [seed; KEY_LEN])] }
    }

    fn handle() -> ReceiptHandle {
        ReceiptHandle {
            consumer_group_id: 7,
            topic_id: 9,
            incarnation: Incarnation(4096),
            queue_id: QueueId(3),
            queue_offset: QueueOffset(118),
            lease_id: LeaseId { boot: 2, sequence: 55 },
            deadline: Timestamp(1_700_000_000_000),
            broker_name: BrokerName::new("broker-a").unwrap(),
        }
    }

    #[test]
    fn l4_a_handle_reads_back_and_no_altered_byte_passes() {
        let keys = keys(1);
        let text = keys.sign(&handle());
        assert!(text.len() <= RECEIPT_HANDLE_CHARS_MAX);
        assert_eq!(keys.verify(&text), Ok(handle()));
        let bytes = URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..]).unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&altered));
            assert_eq!(keys.verify(&text), Err(ReceiptHandleError), "byte {at}");
        }
        for text in ["", "r1.", "r1.AAAA", "r2.AAAA", &text[..text.len() - 2], &"r".repeat(600)] {
            assert_eq!(keys.verify(text), Err(ReceiptHandleError), "{text:?}");
        }
    }

    #[test]
    fn another_clusters_key_does_not_pass_and_an_older_generation_does() {
        let old = keys(1);
        let text = old.sign(&handle());
        assert_eq!(keys(2).verify(&text), Err(ReceiptHandleError));
        let both = HandleKeys { generations: vec![Generation::new(2, [2; KEY_LEN]), Generation::new(1, [1; KEY_LEN])] };
        assert_eq!(both.verify(&text), Ok(handle()));
        let read_back = HandleKeys::from_bytes(&both.to_bytes()).unwrap();
        assert_eq!(read_back.verify(&both.sign(&handle())), Ok(handle()));
        assert!(HandleKeys::from_bytes(&[1; 40]).is_none());
        // What was sealed for something else is no handle.
        assert_eq!(old.open("c1.", &old.seal("c1.", b"x")), Some(b"x".to_vec()));
        let payload = old.open("r1.", &text).unwrap();
        let dressed = old.seal("c1.", &payload).replace("c1.", "r1.");
        assert_eq!(old.verify(&dressed), Err(ReceiptHandleError));
    }
}
