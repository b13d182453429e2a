//! `gantry bench`: a load generator for this server and for every other that speaks one of its protocols.
//!
//! It cannot flatter. A rate is a promise: each message has a moment at which it was meant to leave, and its latency
//! counts from there however late it left, so a server that stalls pays for everything it kept waiting. What failed is
//! counted by its code and never as a success; what was confirmed and not delivered is missing, and the run has failed.

pub mod plan;
pub mod report;
mod stamp;
