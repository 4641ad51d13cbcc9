//! Tests of the PBFT core: steps as tables, conversations of a few validators, random schedules.

mod conversation;
mod kit;
mod restart;
mod schedules;
mod steps;
