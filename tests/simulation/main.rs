//! A whole broker over a simulated disk: crash states by the thousand, each judged by the histories' checker.

mod checker;
mod crash_states;
mod damage;
mod world;
