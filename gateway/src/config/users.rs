//! Who may call, as the file says it: an access key and a secret each. No flag, since every process may read those.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};

use super::ConfigError;
use crate::access::Users;

/// Stands for a secret wherever a configuration is printed.
const HIDDEN: &str = "***";
const ACCESS_KEY_CHARS_MAX: usize = 64;
const SECRET_BYTES_MIN: usize = 8;
const SECRET_BYTES_MAX: usize = 256;

/// One table `[[users]]` of a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserKeys {
    access_key: String,
    #[serde(serialize_with = "hidden")]
    secret: String,
}

impl std::fmt::Debug for UserKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "UserKeys({}, {HIDDEN})", self.access_key)
    }
}

fn hidden<S: Serializer>(_: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(HIDDEN)
}

pub(super) fn check(users: &[UserKeys]) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for UserKeys { access_key, secret } in users {
        let shown = access_key.escape_debug();
        let refused = |reason: String| Err(ConfigError(format!("users: '{shown}' {reason}")));
        // A signature's header has its own use for commas, slashes and equals signs, HTTP Basic for colons.
        let legal = |byte: u8| byte.is_ascii_graphic() && !b",/=:\"".contains(&byte);
        if !(1..=ACCESS_KEY_CHARS_MAX).contains(&access_key.len()) || !access_key.bytes().all(legal) {
            return refused("is no access_key: 1 to 64 letters, digits and signs, but none of , / = : \"".into());
        }
        if secret == HIDDEN {
            return refused("has the secret that stands for one where a configuration is printed".into());
        }
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) || secret.contains(char::is_control) {
            return refused(format!("needs a secret of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes of text"));
        }
        if !seen.insert(access_key) {
            return refused("is there twice".into());
        }
    }
    Ok(())
}

pub(super) fn users(users: &[UserKeys]) -> Users {
    Users::new(users.iter().map(|user| (user.access_key.clone(), user.secret.clone())))
}
