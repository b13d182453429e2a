//! State that must survive: written as records into the commit log, as results and not as requests, and fed back from
//! there by `apply`, which reads no clock, no random number and no file.

pub mod record;
pub mod replay;
pub mod snapshot;
pub mod source;
pub mod tables;
